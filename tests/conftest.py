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
    """Leaves the log as it was: a command gives it the stream of one test."""
    log = logging.getLogger("ema_jax")
    before = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.level, log.propagate = before
