"""Where compiled programs are kept, and that the next process finds them there."""

import os
import subprocess
import sys
from types import SimpleNamespace

from train.user.programs import keep_programs, make_room, processor

PROGRAM = """
import logging, sys
logging.basicConfig(format="%(message)s", level=logging.INFO)
from train.user.programs import keep_programs
keep_programs()
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3)))
print("/jax/compilation_cache/cache_hits" in events)
"""


def run(home, **environment):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=inherited
        | {"XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu"}
        | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), [
        line for line in done.stderr.splitlines() if line.startswith("note")
    ]


def test_the_second_process_compiles_nothing(tmp_path):
    found, said = run(tmp_path)
    assert found == "False"
    assert len(said) == 1
    assert str(tmp_path / "ema_jax" / "programs") in said[0]
    assert run(tmp_path) == ("True", [])


def test_it_can_be_turned_off(tmp_path):
    assert run(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false") == ("False", [])
    assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_written(tmp_path):
    (tmp_path / "ema_jax").write_text("not a folder")
    assert run(tmp_path) == ("False", [])


def test_a_user_without_a_home(monkeypatch):
    """As in a container, under a number that nobody has there."""
    unset = {"jax_enable_compilation_cache": True, "jax_compilation_cache_dir": None}
    monkeypatch.setattr(
        "train.user.programs.jax", SimpleNamespace(config=SimpleNamespace(values=unset))
    )
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    keep_programs()  # with a folder it would set the config


def test_the_oldest_make_way(tmp_path):
    for age, name in enumerate(("new", "old", "older")):
        path = tmp_path / name
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    make_room(tmp_path, 20)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "old"}


def test_one_name_for_one_processor():
    assert processor() == processor()
    assert len(processor()) == 12
