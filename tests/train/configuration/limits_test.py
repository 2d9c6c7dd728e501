"""Values that a config may hold."""

from pathlib import Path

import pytest

from configs import default
from train.configuration.config import field_names, load_config
from train.configuration.limits import LIMITS, check_limits
from train.user.errors import UserError

BAD = {
    "seed": -1,
    "num_steps": 0,
    "num_epochs": 0.0,
    "min_steps": 0,
    "max_steps": 0,
    "batch_size": -8,
    "log_every": 0,
    "early_stop": 0,
    "non_finite": "ignore",
    "max_non_finite": 0,
    "model.in_channels": 0,
    "model.dropout_rate": 1.0,
    "model.bn_decay": 1.5,
    "model.decoder_channels": 0,
    "model.num_bases": 0,
    "model.num_heads": 0,
    "model.num_iters": 0,
    "model.eval_iters": -1,
    "model.eval_window": (33,),
    "model.bases_decay": -0.1,
    "model.variance_floor": 0.0,
    "model.temperature": float("nan"),
    "model.query_chunk": 0,
    "model.map_size": 8,
    "data.label_map": ("car", "vehicle"),
    "data.mask_pattern": "mask.png",
    "data.val_share": 1.0,
    "data.value_range": (4095, 0),
    "data.repeat_rare": 0.0,
    "data.scales": (1.0, 0.0),
    "data.crop_size": (33,),
    "data.color_jitter": (0.4, 0.4, 0.4, 0.6),
    "data.num_threads": -1,
    "data.prefetch": -1,
    "data.corrupt": "ignore",
    "data.max_corrupt": -1,
    "data.suspicious": "ignore",
    "loss.cross_entropy": -1.0,
    "loss.focal": float("nan"),
    "loss.dice": -0.5,
    "loss.lovasz": float("inf"),
    "loss.class_weights": "fair",
    "loss.label_smoothing": 1.5,
    "loss.gamma": -2.0,
    "optimizer.learning_rate": float("inf"),
    "optimizer.power": -1.0,
    "optimizer.hold_steps": 0,
    "optimizer.momentum": 1.0,
    "optimizer.weight_decay": -1e-4,
    "optimizer.bias_rate": -2.0,
    "optimizer.backbone_rate": -0.1,
    "optimizer.auxiliary_weight": -0.4,
    "optimizer.pixel_mean": "vlaid",
    "optimizer.ohem_threshold": 0.0,
    "optimizer.ohem_min_kept": -1,
    "optimizer.accumulation": 0,
    "optimizer.norm_groups": 0,
    "mesh.space": 0,
    "evaluation.every": 0,
    "evaluation.times": 0,
    "evaluation.batch_size": 0,
    "evaluation.canvas_multiple": 0,
    "evaluation.scales": (),
    "evaluation.window": (65,),
    "evaluation.num_pictures": -1,
    "checkpoint.every": 0,
    "checkpoint.keep_last": 0,
    "checkpoint.keep_best": -1,
    "checkpoint.best": "accuracy",
}


def with_value(name, value):
    config = default.get_config()
    section, _, field = name.rpartition(".")
    holder = config[section] if section else config
    with holder.ignore_type():
        holder[field] = value
    return config


@pytest.mark.parametrize("path", sorted(Path("configs").glob("[a-z]*.py")), ids=str)
def test_shipped_configs_are_within(path):
    check_limits(load_config(str(path)))


def test_every_number_of_the_default_config_has_a_limit():
    """But for the output stride, whose values the model knows."""
    config = default.get_config()
    for name in field_names(config):
        section, _, field = name.rpartition(".")
        holder = config[section] if section else config
        kind = holder.get_type(field)
        if kind in (int, float, tuple) and name != "model.output_stride":
            assert name in LIMITS
    assert BAD.keys() == LIMITS.keys()


@pytest.mark.parametrize(("name", "value"), BAD.items())
def test_a_value_beyond_is_named(name, value):
    with pytest.raises(UserError) as error:
        check_limits(with_value(name, value))
    assert str(error.value).startswith(f"config.{name}={value!r} cannot be used; give ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data.crop_size", (33, 33, 3)),
        ("data.crop_size", (33.0, 33.0)),
        ("data.crop_size", (33, 0)),
        ("data.crop_size", 33),
        ("data.scales", ()),
        ("data.scales", ("1",)),
        ("data.scales", 1.0),
        ("num_steps", "many"),
    ],
)
def test_other_shapes_and_types(name, value):
    with pytest.raises(UserError, match=f"config.{name}="):
        check_limits(with_value(name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model.num_bases", None),
        ("model.num_iters", None),
        ("model.bases_decay", None),
        ("model.temperature", None),
        ("model.map_size", None),
        ("model.map_size", 1),
        ("model.eval_iters", 1),
        ("optimizer.auxiliary_weight", 0.0),
        ("optimizer.learning_rate", 0.0),
        ("optimizer.weight_decay", 0.0),
        ("checkpoint.keep_best", 0),
        ("evaluation.num_pictures", 0),
        ("data.prefetch", 0),
        ("seed", 2**40),
    ],
)
def test_unusual_values_that_work(name, value):
    check_limits(with_value(name, value))


def test_a_missing_field_is_named():
    config = default.get_config()
    with config.unlocked():
        del config.evaluation["every"]
    with pytest.raises(UserError, match=r"config\.evaluation\.every is missing"):
        check_limits(config)
