"""An image on a canvas full of rubbish gets what it gets alone, in training too."""

import jax
import numpy as np
import pytest

from tests.golden import heads_cases
from tests.golden.rebuild_heads import features, make_head, stages, variables
from tests.quick import run

HEADS = ("deeplabv3", "deeplabv3plus", "psa9")
SIZE = (6, 9)  # of the features; with 11×17 at stride 4, as of an image of 41×65


def images():
    """Features of two images, alone; both stages."""
    height, width = SIZE
    low, last = features("low")[:2], features("features")[:2]
    return low[:, : 2 * height - 1, : 2 * width - 1], last[:, :height, :width]


def canvas():
    """The same at the top left of a larger canvas, and a third one without image."""
    mask = np.zeros(heads_cases.SHAPE[:3], bool)
    mask[:2, : SIZE[0], : SIZE[1]] = True
    placed = []
    for whole, alone in zip(
        (features("low"), features("features")), images(), strict=True
    ):
        x = 100 * whole
        x[: len(alone), : alone.shape[1], : alone.shape[2]] = alone
        placed.append(x)
    return *placed, mask


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("name", HEADS)
def test_on_a_canvas_as_alone(name, train):
    head, weights = make_head(name), variables(name)

    def forward(low, last, mask=None):
        given = stages(low, last, mask)
        return head.apply(weights, given, train=train, mutable=["batch_stats"])

    alone, statistics = jax.device_get(run(forward, *images()))
    together, updates = jax.device_get(run(forward, *canvas()))
    _, height, width, _ = alone.shape
    np.testing.assert_allclose(
        together[:2, :height, :width], alone, rtol=1e-4, atol=1e-5
    )
    assert np.isfinite(together).all()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        updates,
        statistics,
    )
