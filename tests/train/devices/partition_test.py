"""What a config asks of the devices, and what does not divide."""

from types import SimpleNamespace

import jax
import pytest

from configs import default
from ema_jax import MODELS
from train.devices.mesh import make_mesh
from train.devices.partition import (
    check_batch,
    check_pooling,
    configured_mesh,
    crop_canvas,
)
from train.user.errors import UserError


def model(stride=8):
    return SimpleNamespace(backbone=SimpleNamespace(output_stride=stride))


def config(**fields):
    found = default.get_config()
    found.update_from_flattened_dict(
        {k.replace("__", "."): v for k, v in fields.items()}
    )
    return found


def test_the_mesh_of_a_config():
    assert dict(configured_mesh(config()).shape) == {"data": 8, "space": 1}
    split = configured_mesh(config(mesh__space=4))
    assert dict(split.shape) == {"data": 2, "space": 4}
    # Neighbours in a row are neighbours among the devices: they share a process.
    assert split.devices.tolist() == [jax.devices()[:4], jax.devices()[4:]]


def test_the_config_of_an_old_checkpoint():
    old = config().copy_and_resolve_references().unlock()
    del old["mesh"]
    assert dict(configured_mesh(old).shape) == {"data": 8, "space": 1}


@pytest.mark.parametrize(
    ("side", "stride", "space", "rows"),
    [(513, 8, 1, 513), (512, 8, 1, 512), (513, 8, 4, 544), (513, 16, 4, 576)],
)
def test_rows_that_the_devices_divide(side, stride, space, rows):
    found = crop_canvas(
        config(data__crop_size=(side, 65)), model(stride), make_mesh(space=space)
    )
    assert found == (rows, 65)
    assert rows % (stride * space) == 0 or space == 1


@pytest.mark.parametrize("size", [(500, 513), (512, 512), (513, 512)])
def test_crops_without_aligned_corners(size):
    """Their logits would not be those of a device that has the whole crop."""
    given = config(data__crop_size=size, mesh__space=4)
    with pytest.raises(UserError) as error:
        crop_canvas(given, model(), make_mesh(space=4))
    assert f"config.data.crop_size={size} cannot be split" in str(error.value)
    near = tuple(side // 8 * 8 + 1 for side in size)
    assert f"such as {near}" in str(error.value)


@pytest.mark.parametrize(
    ("fields", "space", "wanted"),
    [
        (
            {"batch_size": 12},
            1,
            "config.batch_size=12 cannot be divided over 8 devices",
        ),
        ({"batch_size": 16, "optimizer__accumulation": 4}, 1, "4 pieces on each of 8"),
        ({"batch_size": 3}, 4, "cannot be divided over 2 groups of 4 devices"),
        ({"optimizer__norm_groups": 3}, 1, "norm_groups=3 does not divide the 16 ima"),
        (
            {"optimizer__norm_groups": 2, "model__renormalize_average": True},
            1,
            "config.model.renormalize_average=True cannot keep",
        ),
        (
            {"optimizer__norm_groups": 16, "optimizer__accumulation": 2},
            1,
            "norm_groups=16 does not divide the 8 images",
        ),
    ],
)
def test_batches_that_cannot_be_divided(fields, space, wanted):
    with pytest.raises(UserError) as error:
        check_batch(config(**fields), make_mesh(space=space))
    assert wanted in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "space"),
    [
        ({}, 1),
        ({"batch_size": 2}, 4),
        ({"optimizer__norm_groups": 16}, 1),
        ({"batch_size": 32, "optimizer__accumulation": 4}, 1),
    ],
)
def test_batches_that_can(fields, space):
    check_batch(config(**fields), make_mesh(space=space))


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_size": 1},
        {"optimizer__norm_groups": 16},
        {"optimizer__accumulation": 4, "optimizer__norm_groups": 4},
    ],
)
def test_the_mean_of_one_image_has_no_variance(fields):
    """PyTorch refuses a batch of one value a channel too."""
    given = config(**fields)
    for name in ("deeplabv3_tiny", "deeplabv3plus_tiny"):
        with pytest.raises(UserError, match="and 1 is normalised at a time; raise"):
            check_pooling(given, MODELS[name]())
    check_pooling(given, MODELS["deeplabv3plus_tiny"](image_pooling=False))
    check_pooling(given, MODELS["emanet_tiny"]())
    check_pooling(config(batch_size=2), MODELS["deeplabv3_tiny"]())
