"""What compilers are told, and whether they know it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.devices import compiler
from train.devices.compiler import (
    LEVEL,
    SPACE_TO_BATCH,
    compiler_options,
    options_of_one_run,
)
from train.devices.mesh import make_mesh

TPUS = SimpleNamespace(
    devices=np.array([[SimpleNamespace(platform="tpu", process_index=1)]])
)


@pytest.fixture
def known(monkeypatch):
    names = [*SPACE_TO_BATCH]
    monkeypatch.setattr(compiler, "_is_known", lambda name, device: name in names)
    return names


def test_only_tpus_are_told(known):
    assert compiler_options(make_mesh(), space_to_batch=False) is None
    told = compiler_options(TPUS, space_to_batch=False)
    assert told == dict.fromkeys(SPACE_TO_BATCH, False)


def test_nothing_is_told_where_it_is_wanted(known):
    assert compiler_options(TPUS, space_to_batch=True) is None


def test_what_a_compiler_does_not_know_is_not_told(known):
    known.remove(SPACE_TO_BATCH[1])
    assert compiler_options(TPUS, space_to_batch=False) == {SPACE_TO_BATCH[0]: False}


def test_what_runs_once_is_compiled_in_less_time_on_cpus(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS")
    told = options_of_one_run()
    assert told == {LEVEL: 1}
    assert jax.jit(lambda: jnp.ones(3).sum(), compiler_options=told)() == 3
    monkeypatch.setenv("XLA_FLAGS", f"--{LEVEL}=0")
    assert options_of_one_run() is None
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert options_of_one_run() is None


def test_a_compiler_is_asked():
    [device] = jax.devices()[:1]
    assert compiler._is_known("xla_embed_ir_in_executable", device)
    assert not compiler._is_known("xla_tpu_no_such_option", device)
