"""Which differences a resumed run may have, and which it may not."""

import json

import pytest

from configs import default
from train.configuration.config import apply_override, from_json, to_json
from train.user.errors import UserError
from train.workdir.resume import check_same


def configs(*overrides):
    """The config of a checkpoint, and that of a run with `overrides`."""
    config = default.get_config()
    config.model.name = "emanet_tiny"
    saved = from_json(json.loads(json.dumps(to_json(config))))
    for override in overrides:
        apply_override(config, f"--config.{override}")
    return saved, config


@pytest.mark.parametrize(
    ("override", "field", "old", "new"),
    [
        ("model.name=fcn_tiny", "model.name", "'emanet_tiny'", "'fcn_tiny'"),
        ("model.num_bases=32", "model.num_bases", "None", "32"),
        ("model.output_stride=16", "model.output_stride", "None", "16"),
        ("model.kernel=gaussian", "model.kernel", "None", "'gaussian'"),
        ("seed=1", "seed", "0", "1"),
        ("batch_size=32", "batch_size", "16", "32"),
        ("data.name=shapes", "data.name", "'voc2012'", "'shapes'"),
    ],
)
def test_a_difference_that_matters_is_named(override, field, old, new):
    with pytest.raises(UserError) as error:
        check_same("runs/a", *configs(override))
    assert str(error.value).startswith(
        f"--workdir=runs/a was trained with config.{field}={old}, not {new}; choose "
    )


@pytest.mark.parametrize(
    "override",
    [
        "num_steps=7",
        "optimizer.learning_rate=1.0",
        "data.root=/elsewhere",
        "data.crop_size=(33,33)",
        "evaluation.batch_size=8",
        "checkpoint.keep_last=9",
        "log_every=1",
        "model.output_stride=8",  # what None stands for
    ],
)
def test_other_differences_pass(override):
    check_same("runs/a", *configs(override))


@pytest.mark.parametrize(
    ("section", "field"),
    [("model", "freeze_bn"), ("optimizer", "backbone_rate"), ("", "num_epochs")],
)
def test_a_field_that_changes_nothing_may_be_younger(section, field):
    saved, config = configs()
    with saved.unlocked():
        del (saved[section] if section else saved)[field]
    check_same("runs/a", saved, config)


def test_a_field_that_the_checkpoint_did_not_have():
    saved, config = configs()
    with saved.unlocked():
        del saved.model["bn_decay"]
    with pytest.raises(UserError, match=r"config\.model\.bn_decay=None, not 0\.9997"):
        check_same("runs/a", saved, config)
