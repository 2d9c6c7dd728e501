"""OpenMMLab's head: training against PyTorch, and its options."""

import jax
import numpy as np
import pytest

from ema_jax import EMANet
from ema_jax.weights import convert_state_dict, model_options
from tests.golden import cases, seeded
from tests.golden.foreign_cases import TRAIN_SIZE
from tests.golden.rebuild import golden, image, relative_error
from tests.golden.rebuild_foreign import state_dict
from tests.quick import run


def build(weights, **options):
    return EMANet(
        **model_options(weights),
        multi_grid=(),
        align_corners=False,
        normalize_batch_mean=True,
        bn_decay=0.9,
        dropout_rate=0.0,
        **options,
    )


@pytest.fixture(scope="module")
def small():
    weights = convert_state_dict(state_dict("train"))
    return build(weights), weights


def test_training_moves_the_bases_as_pytorch(small):
    model, weights = small

    def forward(x):
        def small_logits(model, x):
            stages = model.backbone(x, train=True, mask=None)
            return model.head(stages, train=True)

        return model.apply(weights, x, method=small_logits, mutable=["batch_stats"])

    image = seeded.image(TRAIN_SIZE, cases.IMAGE_SEED)
    logits, updates = jax.device_get(run(forward, image))
    assert relative_error(logits, golden("foreign")["train/logits"]) < 1e-4
    bases = updates["batch_stats"]["head"]["context"]["bases"]
    expected = golden("foreign")["train/bases"][0].T
    assert relative_error(bases, expected) < 1e-5
    before = weights["batch_stats"]["head"]["context"]["bases"]
    assert relative_error(before, expected) > 1e-2


def test_auxiliary_logits_only_when_asked_for(small):
    model, weights = small

    def forward(x, auxiliary):
        return model.apply(
            weights, x, train=True, auxiliary=auxiliary, mutable=["batch_stats"]
        )

    (alone, without), ((logits, second), updates) = jax.device_get(
        run(lambda x: (forward(x, False), forward(x, True)), image((33, 41)))
    )
    np.testing.assert_allclose(logits, alone, atol=1e-5)
    assert second.shape == logits.shape == (1, 33, 41, 19)
    assert relative_error(second, np.asarray(logits)) > 0.1
    # A step that leaves the second head out keeps its statistics.
    assert jax.tree.structure(without) == jax.tree.structure(updates)
    kept = without["batch_stats"]["auxiliary_head"]["conv1"]["bn"]["mean"]
    old = weights["batch_stats"]["auxiliary_head"]["conv1"]["bn"]["mean"]
    moved = updates["batch_stats"]["auxiliary_head"]["conv1"]["bn"]["mean"]
    np.testing.assert_array_equal(kept, old)
    assert np.abs(moved - old).max() > 1e-3


def test_images_on_a_canvas_get_what_they_get_alone(small):
    """At any size: half-pixel centres are those of the image, not of the canvas."""
    model, weights = small
    apply = jax.jit(lambda *x: model.apply(weights, *x, train=False, auxiliary=True))
    masked = jax.jit(
        lambda x, mask: model.apply(weights, x, train=False, mask=mask, auxiliary=True)
    )
    sizes = ((36, 65), (65, 41))
    canvas, mask = np.zeros((2, 72, 72, 3), np.float32), np.zeros((2, 72, 72), bool)
    for row, (height, width) in enumerate(sizes):
        canvas[row, :height, :width] = image((height, width))[0]
        mask[row, :height, :width] = True
    together = jax.device_get(masked(canvas, mask))
    for row, (height, width) in enumerate(sizes):
        alone = apply(image((height, width)))
        for logits, expected in zip(together, alone, strict=True):
            np.testing.assert_allclose(
                logits[row, :height, :width], expected[0], atol=1e-5, rtol=1e-4
            )


def test_masked_auxiliary_logits_with_aligned_corners(small):
    _, weights = small
    model = EMANet(**model_options(weights), multi_grid=())
    canvas, mask = np.zeros((1, 41, 41, 3), np.float32), np.zeros((1, 41, 41), bool)
    canvas[:, :33, :25], mask[:, :33, :25] = image((33, 25)), True

    def apply(x, mask=None):
        return model.apply(weights, x, train=False, mask=mask, auxiliary=True)

    alone = run(apply, image((33, 25)))
    together = jax.device_get(run(apply, canvas, mask))
    for logits, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(logits[:, :33, :25], expected, atol=1e-5, rtol=1e-4)


def test_no_auxiliary_head_is_an_error():
    model = EMANet(stage_sizes=(1, 1, 1, 1))
    with pytest.raises(ValueError, match="auxiliary_head=True"):
        model.init(
            jax.random.key(0), np.ones((1, 9, 9, 3)), train=False, auxiliary=True
        )
