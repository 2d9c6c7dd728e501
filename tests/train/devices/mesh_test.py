"""Eight virtual devices: who holds which rows."""

import jax
import numpy as np
import pytest

from train.devices.mesh import check_batch_size, make_mesh, to_devices
from train.user.errors import UserError


def test_the_mesh_holds_every_device():
    mesh = make_mesh()
    assert dict(mesh.shape) == {"data": 8, "space": 1}
    assert set(mesh.devices.flat) == set(jax.devices())
    assert mesh.devices.size == 8


@pytest.mark.parametrize("error", [RuntimeError, AssertionError])
def test_a_platform_that_is_not_there(monkeypatch, error):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(UserError, match=r"^JAX_PLATFORMS=cuda: jax finds no such"):
        make_mesh()


def test_each_device_gets_consecutive_rows():
    mesh = make_mesh()
    rows = np.arange(16 * 3).reshape(16, 3)
    placed = to_devices({"x": rows}, mesh.batch)["x"]
    assert placed.shape == (16, 3)
    by_device = {shard.device: np.asarray(shard.data) for shard in placed.global_shards}
    for position, device in enumerate(mesh.devices.flat):
        np.testing.assert_array_equal(
            by_device[device], rows[2 * position : 2 * position + 2]
        )


def test_replicated_arrays_are_whole_everywhere():
    mesh = make_mesh()
    placed = jax.device_put(np.arange(5), mesh.everywhere)
    assert len(placed.global_shards) == 8
    for shard in placed.global_shards:
        np.testing.assert_array_equal(shard.data, np.arange(5))


@pytest.mark.parametrize("batch_size", [8, 16, 800])
def test_batches_that_the_devices_divide(batch_size):
    check_batch_size(batch_size, make_mesh(), "config.batch_size")


@pytest.mark.parametrize(
    ("batch_size", "suggestion"), [(3, 8), (13, 16), (20, 16), (0, 8), (-8, 8)]
)
def test_batches_that_they_do_not(batch_size, suggestion):
    with pytest.raises(UserError) as error:
        check_batch_size(batch_size, make_mesh(), "config.batch_size")
    message = str(error.value)
    assert f"config.batch_size={batch_size} cannot be divided over 8" in message
    assert message.endswith(f"such as {suggestion}")
