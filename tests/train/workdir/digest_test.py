"""Every changed bit changes the digest."""

import zlib

import jax
import numpy as np
import pytest

from train.devices.mesh import make_mesh
from train.workdir.digest import differs, digest


def tree():
    return {"a": np.arange(8.0, dtype=np.float32), "b": np.array(3, np.int32)}


@pytest.mark.parametrize("place", ["everywhere", "batch"])
def test_it_is_that_of_the_bytes_wherever_they_are(place):
    arrays = {"a": jax.device_put(tree()["a"], getattr(make_mesh(), place))}
    assert digest(arrays) == [zlib.crc32(tree()["a"].tobytes())]


@pytest.mark.parametrize("bit", [0, 17, 255])
def test_a_changed_bit_is_noticed(bit):
    values = jax.device_put(tree())
    known = digest(values)
    assert not differs(values, known)
    content = bytearray(tree()["a"].tobytes())
    content[bit // 8] ^= 1 << bit % 8
    changed = {"a": np.frombuffer(bytes(content), np.float32), "b": tree()["b"]}
    assert differs(jax.device_put(changed), known)
    assert differs(values, known[:1])
    assert not differs(jax.device_put(changed), [None, known[1]])
