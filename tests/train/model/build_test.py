"""What a config says of the model reaches its modules."""

import jax
import jax.numpy as jnp
import pytest

from configs import default
from tests.quick import by_part
from train.model.build import ONLY_AT_START, build_model
from train.update.optimizer import frozen_parameters
from train.user.errors import UserError

MODULES = by_part

EMAU_FIELDS = {
    "num_bases": 5,
    "num_heads": 2,
    "num_iters": 2,
    "eval_iters": 7,
    "eval_window": (9, 5),
    "bases_update": "none",
    "bases_decay": 0.8,
    "kernel": "gaussian",
    "normalization": "layer",
    "gradient": "unroll",
    "assignment": "hard",
    "variance_floor": 1e-3,
    "temperature": 0.5,
    "normalize_batch_mean": True,
    "renormalize_average": True,
    "skip_non_finite": True,
    "zero_init": True,
    "bn_decay": 0.6,
}
OTHER_FIELDS = [
    ("emanet_tiny", "learn_temperature", True, {"gradient": "unroll"}),
    ("emanet_tiny", "covariance", "diagonal", {"kernel": "gaussian"}),
    ("emanet_tiny", "mixing", "learned", {"kernel": "gaussian"}),
    ("hamburger_tiny", "num_bases", 5, {}),
    ("hamburger_tiny", "bases_update", "moving_average", {}),
    ("non_local_tiny", "query_chunk", 64, {}),
    ("non_local_tiny", "implementation", "xla", {}),
    ("non_local_tiny", "zero_init", False, {}),
    ("deeplabv3_tiny", "image_pooling", False, {}),
    ("deeplabv3plus_tiny", "image_pooling", False, {}),
    ("psanet_tiny", "map_size", 5, {}),
]
"""Model, option, value, and what goes with it."""


def tiny():
    fields = default.model()
    fields.name = "emanet_tiny"
    return fields


@pytest.fixture
def config():
    return tiny()


@pytest.fixture(scope="module")
def untouched():
    """What no field of the config changes."""
    return build_model(tiny(), 3)


def refused(config):
    with pytest.raises(UserError) as error:
        build_model(config, 3)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("field", "value"), EMAU_FIELDS.items())
def test_fields_of_the_unit(config, untouched, field, value):
    assert getattr(untouched.head.context, field) != value
    config[field] = value
    assert getattr(build_model(config, 3).head.context, field) == value


@pytest.mark.parametrize(("name", "field", "value", "others"), OTHER_FIELDS)
def test_fields_of_other_models(config, name, field, value, others):
    config.update(others | {"name": name})
    head = build_model(config, 3).head
    assert getattr(getattr(head, "context", head), field) != value
    config[field] = value
    head = build_model(config, 3).head
    assert getattr(getattr(head, "context", head), field) == value


@pytest.mark.parametrize(
    ("name", "field", "value", "owner"),
    [
        ("emanet_tiny", "map_size", 9, "EMAU"),
        ("emanet_tiny", "image_pooling", True, "EMAU"),
        ("fcn_tiny", "num_bases", 8, "NoContext"),
        ("non_local_tiny", "gradient", "stop", "NonLocal"),
        ("deeplabv3_tiny", "num_iters", 3, "DeepLabV3Head"),
        ("psanet_tiny", "bases_decay", 0.9, "PSAHead"),
    ],
)
def test_an_option_of_another_model_is_refused(config, name, field, value, owner):
    config.name = name
    config[field] = value
    message = refused(config)
    assert message.startswith(
        f"config.model.{field}={value!r} is no option of {owner}; it takes "
    )


def test_the_auxiliary_head_is_there_where_asked_for(config):
    for name in ("emanet_tiny", "psanet_tiny"):
        config.update({"name": name, "auxiliary_head": None})
        assert build_model(config, 3).auxiliary_head is None
        config.auxiliary_head = True
        assert build_model(config, 3).auxiliary_head.hidden_channels == 64
    config.name = "emanet_r50_mmseg"
    config.auxiliary_head = None
    assert build_model(config, 3).auxiliary_head is not None
    config.auxiliary_head = False
    assert build_model(config, 3).auxiliary_head is None


@pytest.mark.parametrize(
    ("crop_size", "output_stride", "side"),
    [((33, 97), 8, 13), ((129, 129), 8, 17), ((129, 129), 16, 9), ((193, 41), 8, 25)],
)
def test_the_map_of_psanet_covers_the_crops(config, crop_size, output_stride, side):
    """The offsets between n half-sized features go from 1-n to n-1."""
    config.update({"name": "psanet_tiny", "output_stride": output_stride})
    assert build_model(config, 3, crop_size).head.map_size == side
    config.map_size = 5
    assert build_model(config, 3, crop_size).head.map_size == 5
    config.update({"name": "fcn_tiny", "map_size": None})
    assert build_model(config, 3, crop_size) == build_model(config, 3)


def test_fields_of_backbone_and_head(config):
    config.output_stride = 16
    config.in_channels = 5
    config.bn_decay = 0.6
    config.freeze_bn = True
    config.dropout_rate = 0.4
    config.decoder_channels = 6
    config.coarse_logits = True
    model = build_model(config, 7)
    assert model.backbone.output_stride == 16
    assert model.backbone.in_channels == 5
    assert model.backbone.bn_decay == 0.6
    assert model.backbone.freeze_bn
    assert model.head.dropout_rate == 0.4
    assert model.head.decoder_channels == 6
    assert model.head.coarse_logits
    assert model.head.num_classes == 7


def test_every_field_is_a_test_above(config):
    elsewhere = {"name", "dtype", "output_stride", "dropout_rate", "auxiliary_head"}
    elsewhere |= {"in_channels", "freeze_bn", "decoder_channels", "coarse_logits"}
    others = {field for _, field, _, _ in OTHER_FIELDS}
    tested = EMAU_FIELDS.keys() | others | elsewhere
    assert set(config) == tested | set(ONLY_AT_START)


def test_none_keeps_what_the_model_says(config):
    assert config.num_bases is None
    assert not build_model(config, 3).backbone.freeze_bn
    assert build_model(config, 3).head.context.num_bases == 16


def test_the_compute_type_leaves_parameters_in_float32(config):
    config.dtype = "bfloat16"
    model = build_model(config, 3)
    images = jnp.zeros((1, 33, 33, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))
    assert model.head.dtype == model.backbone.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}


def test_an_unknown_model_names_the_nearest(config):
    config.name = "emanet_r100"
    message = refused(config)
    assert message.startswith("config.model.name='emanet_r100' is unknown; did you")
    assert "emanet_r101" in message


def test_an_unknown_type_names_the_others(config):
    config.dtype = "float16"
    assert refused(config).startswith("config.model.dtype='float16' is unknown;")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kernel", "cosine"),
        ("normalization", "batch"),
        ("gradient", "full"),
        ("bases_update", "sometimes"),
        ("output_stride", 12),
        ("num_bases", 0),
        ("num_iters", 0),
    ],
)
def test_an_option_that_the_model_refuses_is_named(config, field, value):
    config[field] = value
    assert refused(config).startswith(f"config.model.{field}={value!r}")


def test_a_field_that_the_model_does_not_have(config):
    config.attention = "self"
    assert refused(config).startswith("config.model.attention='self' is no option of")


@pytest.mark.parametrize(
    ("gradient", "frozen"),
    [("stop", [("head", "context", "conv1")]), ("unroll", []), ("last_step", [])],
)
def test_what_gets_no_gradient_is_frozen(config, gradient, frozen):
    config.gradient = gradient
    assert frozen_parameters(build_model(config, 3)) == frozen


@pytest.mark.parametrize("name", ["fcn_tiny", "hamburger_tiny", "psanet_tiny"])
def test_the_rivals_train_all_they_have(config, name):
    config.name = name
    assert frozen_parameters(build_model(config, 3)) == []
