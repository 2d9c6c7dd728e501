"""Files of each family, converted, against PyTorch's golden values."""

from functools import lru_cache

import jax
import numpy as np
import pytest

from ema_jax import EMANet, Segmenter
from ema_jax.weights import convert_state_dict, model_options
from tests.golden import cases, seeded
from tests.golden.foreign_cases import MMSEG_RUNS, RESNET_RUNS, RESNETS, run_name
from tests.golden.rebuild import emanet, golden, image, relative_error, variables
from tests.golden.rebuild_foreign import backbone, state_dict
from tests.quick import by_part

MODULES = by_part

MMSEG = {"multi_grid": (), "align_corners": False}
"""What the shapes of OpenMMLab's files do not tell."""


def deep(runs: dict) -> list[tuple]:
    """(depth, stride, size) of the networks deeper than 50."""
    return [(depth, *run) for depth in runs if depth > 50 for run in runs[depth]]


def small_logits(model: Segmenter, x: np.ndarray) -> jax.Array:
    """The logits before the upsampling."""
    return model.head(model.backbone(x, train=False, mask=None), train=False)


def both_small(model: Segmenter, x: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """Those of the auxiliary head too."""
    stages = model.backbone(x, train=False, mask=None)
    return model.head(stages, train=False), model.auxiliary_head(stages, train=False)


@lru_cache(maxsize=1)
def weights_of(name: str) -> dict:
    """The variables of a file; the runs of a network are neighbours."""
    return convert_state_dict(state_dict(name))


@lru_cache(maxsize=1)
def weights_of_release(depth: int) -> dict:
    """Those of a release, whose stride and size change no weight."""
    return variables(cases.Network(stage_sizes=cases.STAGE_SIZES[depth]))


@pytest.fixture(scope="module", autouse=True)
def weights_are_let_go():
    yield
    weights_of.cache_clear()
    weights_of_release.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def drawn_once():
    """The networks of one origin share the names and the shapes of their first blocks.

    As many arrays are kept as the deepest of them has.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeded, "values", lru_cache(maxsize=900)(seeded.values))
        yield


@pytest.mark.parametrize(("depth", "stride", "size"), deep(cases.EMANET_RUNS))
def test_deep_releases_equal_pytorch(depth, stride, size):
    network = cases.Network(stage_sizes=cases.STAGE_SIZES[depth], output_stride=stride)
    weights = weights_of_release(depth)
    logits = emanet(network).apply(weights, image(size), method=small_logits)
    name = run_name(f"emanet{depth}", stride, size)
    assert relative_error(logits, golden("emanet")[f"{name}/logits"]) < 1e-4


@pytest.mark.parametrize(("stride", "size"), MMSEG_RUNS[50])
def test_mmseg50_equals_pytorch(stride, size):
    weights = weights_of("mmseg50")
    model = EMANet(**model_options(weights), **MMSEG, output_stride=stride)
    both = model.apply(weights, image(size), train=False, auxiliary=True)
    step, name = cases.UPSAMPLED_STEP, run_name("mmseg50", stride, size)
    for logits, key in zip(both, ("upsampled", "upsampled_auxiliary"), strict=True):
        assert logits.shape == (1, *size, 19)
        expected = golden("foreign")[f"{name}/{key}"]
        assert relative_error(logits[:, ::step, ::step], expected) < 1e-4


@pytest.mark.parametrize(("depth", "stride", "size"), deep(MMSEG_RUNS))
def test_deep_mmsegs_equal_pytorch(depth, stride, size):
    weights = weights_of(f"mmseg{depth}")
    model = EMANet(**model_options(weights), **MMSEG, output_stride=stride)
    name = run_name(f"mmseg{depth}", stride, size)
    both = model.apply(weights, image(size), method=both_small)
    for logits, key in zip(both, ("logits", "auxiliary"), strict=True):
        assert relative_error(logits, golden("foreign")[f"{name}/{key}"]) < 1e-4


@pytest.mark.parametrize(
    ("name", "stride", "size"),
    [(name, *run) for name, depth in RESNETS.items() for run in RESNET_RUNS[depth]],
)
def test_resnets_equal_timm_and_torchvision(name, stride, size):
    model, weights = backbone(weights_of(name), stride)
    stages = model.apply(weights, image(size), train=False)
    for number, stage in enumerate(stages, start=1):
        key = f"{run_name(name, stride, size)}/stage{number}"
        actual = cases.sample(np.asarray(stage.x))
        assert relative_error(actual, golden("foreign")[key]) < 1e-4
