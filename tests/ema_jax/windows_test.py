"""EM over windows of the features against a loop over windows in numpy, float64.

There each image is alone, at its own size; here all lie on one canvas.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ema_jax import EMAU, em_attention
from tests.golden.rebuild import relative_error
from tests.versions import enable_x64

CANVAS, WINDOW, CHANNELS, BASES = (13, 16), (5, 6), 8, 3
PLACES = [((0, 0), (13, 16)), ((2, 3), (9, 11)), ((8, 8), (5, 6)), ((0, 1), (12, 2))]
"""Top left and size of each image: many windows, some, one, a column of them."""
OPTIONS = {
    "default": {},
    "heads": {"num_heads": 2, "skip_non_finite": True},
    "mixture": {
        "kernel": "gaussian",
        "normalization": "none",
        "covariance": "diagonal",
        "mixing": "learned",
    },
}
unit = EMAU(num_bases=BASES, eval_window=WINDOW, temperature=2.0)


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Images whose corners are unlike, on a canvas, with an empty place; and a mask."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(PLACES) + 1, *CANVAS, CHANNELS))
    x += np.linspace(-1, 1, CANVAS[0])[:, None, None] * rng.standard_normal(CHANNELS)
    mask = np.zeros(x.shape[:3], bool)
    for row, ((top, left), (height, width)) in enumerate(PLACES):
        mask[row, top : top + height, left : left + width] = True
    return x.astype(np.float32), mask


def em(tokens: np.ndarray, bases: np.ndarray) -> np.ndarray:
    """Three iterations, then Z μ."""
    for _ in range(3):
        z = np.exp(2 * tokens @ bases.T)
        z /= z.sum(1, keepdims=True)
        bases = z.T @ tokens / (1e-6 + z.sum(0)[:, None])
        bases = bases / (1e-6 + np.linalg.norm(bases, axis=1, keepdims=True))
    return z @ bases


def em_of(name: str):
    """EM of tokens alone, by the options of a name."""
    if name == "default":
        return em
    if name == "heads":
        return lambda tokens, bases: np.concatenate(
            [em(tokens[:, half], bases[:, half]) for half in (slice(4), slice(4, 8))],
            axis=1,
        )
    options = OPTIONS[name] | {"temperature": 2.0}
    attend = jax.jit(partial(em_attention, **options))
    return lambda tokens, bases: np.asarray(attend(tokens, bases).features)


def starts(length: int, side: int) -> list[int]:
    """A third of a window is seen again; the last one ends where the image does."""
    last = max(length - side, 0)
    return [*range(0, last, max(1, 2 * side // 3)), last]


def by_windows(tokens: np.ndarray, bases: np.ndarray, attend) -> np.ndarray:
    """(h, w, C): EM of each window, and their mean by the depth inside of them."""
    total, weight = np.zeros_like(tokens), np.zeros((*tokens.shape[:2], 1))
    for top in starts(tokens.shape[0], WINDOW[0]):
        for left in starts(tokens.shape[1], WINDOW[1]):
            here = slice(top, top + WINDOW[0]), slice(left, left + WINDOW[1])
            piece = tokens[here]
            found = attend(piece.reshape(-1, CHANNELS), bases).reshape(piece.shape)
            for y in range(piece.shape[0]):
                for x in range(piece.shape[1]):
                    deep = min(y + 1, WINDOW[0] - y) * min(x + 1, WINDOW[1] - x)
                    total[top + y, left + x] += deep * found[y, x]
                    weight[top + y, left + x] += deep
    return total / weight


def alone(variables, x: np.ndarray, attend) -> np.ndarray:
    """The unit on one image (h, w, C)."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)
    conv1, conv2 = params["params"]["conv1"], params["params"]["conv2"]
    tokens = x @ conv1["kernel"] + conv1["bias"]
    features = by_windows(tokens, params["batch_stats"]["bases"], attend)
    y = np.maximum(features, 0) @ conv2["kernel"]
    return np.maximum(x + y / np.sqrt(1 + 1e-5), 0)  # BN has seen nothing yet


@pytest.fixture(scope="module")
def variables():
    found = unit.init(jax.random.key(0), batch()[0], train=False)
    bias = jnp.linspace(-1, 1, CHANNELS)  # which absent tokens must not bring in
    return found | {
        "params": found["params"]
        | {"conv1": {"kernel": found["params"]["conv1"]["kernel"], "bias": bias}}
    }


@pytest.mark.parametrize("name", OPTIONS)
def test_equals_a_loop_over_the_windows_of_each_image_alone(variables, name):
    (x, mask), attend = batch(), em_of(name)
    holes = np.where(mask[..., None], x, np.nan)
    y = unit.clone(**OPTIONS[name]).apply(variables, holes, mask, train=False)
    assert not np.any(np.asarray(y)[~mask])
    with enable_x64():
        for row, (_, size) in enumerate(PLACES):
            image = x[row][mask[row]].reshape(*size, CHANNELS).astype(np.float64)
            expected = alone(variables, image, attend)
            found = np.asarray(y[row])[mask[row]].reshape(expected.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    whole = unit.clone(eval_window=None, **OPTIONS[name])
    difference = y - whole.apply(variables, holes, mask, train=False)
    one_window = [not np.abs(image).max() > 1e-5 for image in difference]
    assert one_window == [False, False, True, False, True]


def test_without_a_mask(variables):
    x = batch()[0]
    y = unit.apply(variables, x[:1], train=False)
    expected = alone(variables, x[0].astype(np.float64), em)
    np.testing.assert_allclose(y[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("window", "train", "same"),
    [
        (CANVAS, False, True),
        ((99, 16), False, True),
        (WINDOW, True, True),
        (WINDOW, False, False),
    ],
)
def test_the_program_is_that_of_no_window(variables, window, train, same):
    """Where the canvas is within the window, and in training."""
    x, mask = batch()

    def program(unit):
        def run(variables, x, mask):
            mutable = ["batch_stats"] if train else False
            return unit.apply(variables, x, mask, train=train, mutable=mutable)

        return str(jax.make_jaxpr(run)(variables, x, mask))

    plain, windowed = (program(unit.clone(eval_window=w)) for w in (None, window))
    assert (plain == windowed) == same


def test_bfloat16_under_vmap(variables):
    x, mask = batch()
    half = unit.clone(dtype=jnp.bfloat16)
    each = jax.vmap(lambda x, mask: half.apply(variables, x, mask, train=False))
    y = each(jnp.asarray(x, jnp.bfloat16)[:, None], mask[:, None])[:, 0]
    assert y.dtype == jnp.bfloat16
    full = unit.apply(variables, x, mask, train=False)
    assert relative_error(y.astype(np.float32), full) < 3e-2


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_images_and_their_rows_over_devices(variables, kind):
    (x, mask), rows = batch(), 12
    x, mask = x[:4, :rows], mask[:4, :rows]
    expected = unit.apply(variables, x, mask, train=False)
    devices = np.array(jax.devices()[:4]).reshape(2, 2)
    mesh = Mesh(devices, ("data", "rows"), axis_types=(kind,) * 2)
    split, everywhere = (NamedSharding(mesh, spec) for spec in (P("data", "rows"), P()))
    given = jax.device_put((x, mask), split)
    apply = jax.jit(lambda v, x, mask: unit.apply(v, x, mask, train=False))
    y = apply(jax.device_put(variables, everywhere), *given)
    assert y.sharding.is_equivalent_to(split, 4)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_what_em_did_in_each_window(variables):
    (x, mask), two = batch(), unit.clone(num_heads=2)
    (_, bases), state = two.apply(
        variables,
        *(x, mask),
        train=False,
        return_bases=True,
        mutable=["intermediates"],
    )
    seen = {name: value[0] for name, value in state["intermediates"].items()}
    images, windows = len(x), 4 * 4
    assert {name: value.shape for name, value in seen.items()} == {
        "responsibilities": (images, 2, 13 * 16, BASES),
        "bases": (images, windows, 2, BASES, CHANNELS // 2),
        "entropy": (images, windows, 2),
        "dead_bases": (images, windows, 2),
        "bases_change": (3, images, windows, 2),
    }
    sums = seen["responsibilities"].sum(-1)
    wanted = np.broadcast_to(mask.reshape(images, 1, -1), sums.shape)
    np.testing.assert_allclose(sums, wanted, atol=1e-5)
    exist = np.asarray(seen["entropy"][..., 0] > 0)
    numbers = [len(starts(h, 5)) * len(starts(w, 6)) for _, (h, w) in PLACES]
    assert exist.sum(1).tolist() == [*numbers, 0]
    joined = np.moveaxis(np.asarray(seen["bases"]), 2, 3)
    for row in range(len(PLACES)):
        mean = joined[row, exist[row]].mean(0).reshape(BASES, CHANNELS)
        np.testing.assert_allclose(bases[row], mean, atol=1e-5)
    assert not np.any(bases[-1])
