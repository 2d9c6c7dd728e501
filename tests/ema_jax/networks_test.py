"""Networks: their options arrive, unknown ones are named, canvases do not matter."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from ema_jax import EMAU, ContextNet, DeepLabV3, DeepLabV3Plus, EMANet, PSANet
from tests.golden.rebuild import image
from tests.micro import lively
from tests.quick import run

SMALL = {"num_classes": 5, "stage_sizes": (1, 1, 1, 1), "width": 8, "stem_width": 8}


def test_every_attribute_of_the_unit_is_an_option():
    shared = {"bn_decay", "dtype", "parent", "name"}
    names = {field.name for field in dataclasses.fields(EMAU)} - shared
    assert {"num_bases", "gradient", "eval_iters", "axis_name"} <= names
    for name in names:
        value = object()
        assert getattr(EMANet(**{name: value}).head.context, name) is value


def test_shared_options_reach_all_parts():
    model = ContextNet(
        "external_attention",
        bn_decay=0.5,
        dtype=jnp.bfloat16,
        dropout_rate=0.3,
        num_classes=7,
        auxiliary_head=True,
        hidden_channels=32,
        num_slots=8,
    )
    parts = model.backbone, model.head, model.head.context, model.auxiliary_head
    assert {part.bn_decay for part in parts} == {0.5}
    assert {part.dtype for part in parts} == {jnp.bfloat16}
    assert {part.num_classes for part in parts[1::2]} == {7}
    assert {part.dropout_rate for part in parts[1::2]} == {0.3}
    assert {part.hidden_channels for part in parts[1::2]} == {32}
    assert model.head.context.num_slots == 8


@pytest.mark.parametrize("make", [DeepLabV3, DeepLabV3Plus])
@pytest.mark.parametrize(
    ("stride", "rates"), [(8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))]
)
def test_the_pyramid_follows_the_output_stride(make, stride, rates):
    model = make(output_stride=stride)
    assert model.head.rates == rates
    assert model.backbone.output_stride == stride
    assert make(output_stride=stride, rates=(1, 2, 3)).head.rates == (1, 2, 3)


@pytest.mark.parametrize(
    ("make", "owner"),
    [
        (EMANet, "EMAU"),
        (lambda **options: ContextNet("none", **options), "NoContext"),
        (lambda **options: ContextNet("criss_cross", **options), "CrissCrossAttention"),
        (DeepLabV3, "DeepLabV3Head"),
        (DeepLabV3Plus, "DeepLabV3PlusHead"),
        (PSANet, "PSAHead"),
    ],
)
def test_an_unknown_option_is_named(make, owner):
    with pytest.raises(ValueError, match=f"^atention='full' is no option of {owner};"):
        make(atention="full")


def test_an_unknown_context_is_named():
    with pytest.raises(ValueError, match=r"^context='nonlocal' is unknown.*'non_local"):
        ContextNet("nonlocal")


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (DeepLabV3Plus, {"channels": 8, "output_stride": 16, "rates": (1, 2, 3)}),
        (PSANet, {"channels": 8, "hidden_channels": 8, "map_size": 5}),
    ],
)
def test_an_image_on_a_canvas_gets_what_it_gets_alone(make, options):
    """At 16k+1, where stride 4 and stride 16 have their corners in one place."""
    model = make(**SMALL, **options)
    weights, small, large = lively(model), (33, 49), (65, 65)
    canvas, mask = np.zeros((1, *large, 3), np.float32), np.zeros((1, *large), bool)
    canvas[:, : small[0], : small[1]] = image(small)
    mask[:, : small[0], : small[1]] = True

    def logits(x, mask=None):
        return model.apply(weights, x, train=False, mask=mask)

    alone, together = run(logits, image(small)), run(logits, canvas, mask)
    assert alone.shape == (1, *small, 5)
    assert np.std(alone) > 1e-2
    np.testing.assert_allclose(
        together[:, : small[0], : small[1]], alone, atol=1e-5, rtol=1e-4
    )
