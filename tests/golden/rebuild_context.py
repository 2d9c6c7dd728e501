"""Our side of context.npz: the same modules, weights and ragged batches."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from ema_jax import context
from tests.golden import context_cases
from tests.golden.context_cases import BN_MOMENTUM, CASES, Case
from tests.golden.rebuild import golden

LEAVES = {
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "bases": ("batch_stats", "bases"),
}


def expected(name: str) -> dict[str, np.ndarray]:
    """The golden arrays of one case, without its name."""
    prefix = f"{name}/"
    found = golden("context").items()
    return {k.removeprefix(prefix): x for k, x in found if k.startswith(prefix)}


def module(name: str, **options) -> nn.Module:
    """Our module of a case."""
    case = CASES[name]
    make = context.CONTEXTS[case.kind]
    bn = {"bn_decay": 1 - BN_MOMENTUM}
    return make(**case.options, **bn, **options)


def place(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Collection and keys, in our variables, of a weight with PyTorch's name."""
    *path, leaf = name.split(".")
    if leaf in LEAVES:
        collection, key = LEAVES[leaf]
        return (collection, *path, key)
    if leaf == "weight":
        leaf = "kernel" if len(shape) == 4 else "scale"
    return ("params", *path, leaf)


def lay_out(x: np.ndarray) -> np.ndarray:
    """From PyTorch's axes to ours: (O, I, 1, 1) to (I, O), (1, D, K) to (K, D)."""
    if x.ndim == 4:
        return x[:, :, 0, 0].T
    return x[0].T if x.ndim == 3 else x


def variables(case: Case) -> dict:
    """The seeded weights of a case, as our variables."""
    tree: dict = {"params": {}}
    for name, x in context_cases.weights(case).items():
        *path, leaf = place(name, x.shape)
        node = tree
        for key in path:
            node = node.setdefault(key, {})
        node[leaf] = jnp.asarray(lay_out(x))
    return tree


def leaf(tree: dict, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of ours, in a tree of collections, that has PyTorch's name."""
    node = tree
    for key in place(name, shape):
        node = node[key]
    return np.asarray(node)


def pad(images: list[np.ndarray], fill: float) -> tuple[np.ndarray, np.ndarray]:
    """Images (1, h, w, C) and one without a pixel, on one canvas, and the mask.

    They lie at an offset that differs, so that the mask is no mere length.
    """
    height = max(x.shape[1] for x in images) + 1
    width = max(x.shape[2] for x in images) + 2
    shape = (len(images) + 1, height, width, images[0].shape[-1])
    canvas = np.full(shape, fill, np.float32)
    mask = np.zeros(canvas.shape[:3], bool)
    for i, x in enumerate(images):
        where = np.s_[i, i : i + x.shape[1], i : i + x.shape[2]]
        canvas[where] = x[0]
        mask[where] = True
    return canvas, mask
