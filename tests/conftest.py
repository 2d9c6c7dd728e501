"""Eight virtual CPU devices, so that sharded programs are tested everywhere."""

import logging
import os

import pytest

from tests.quick import FLAGS

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_force_host_platform_device_count=8",
        *FLAGS,
        os.environ.get("XLA_FLAGS", ""),
    ]
)


@pytest.fixture(autouse=True)
def logger():
    """Leaves the log as it is when nothing has run: a command sets it for itself."""
    yield
    log = logging.getLogger("ema_jax")
    log.handlers, log.level, log.propagate = [], logging.NOTSET, True
