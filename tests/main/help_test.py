"""What the command line says of itself, and how it ends."""

import gc
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import main
from train import commands


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: main.py [-h] COMMAND ...")
    for command in ("train", "evaluate", "predict"):
        assert f"\n    {command} " in text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", ["--config CONFIG", "--workdir WORKDIR", "--config.optimizer.lear"]),
        ("evaluate", ["--workdir", "--checkpoint", "--split", "--config."]),
        ("predict", ["IMAGE", "--output OUTPUT", "--workdir", "--checkpoint"]),
    ],
)
def test_help_of_a_command(capsys, command, words):
    with pytest.raises(SystemExit) as stop:
        main.main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: main.py {command} ")
    assert not [word for word in words if word.lower() not in text.lower()]
    assert max(map(len, text.splitlines())) <= 88


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["train"], ["predict", "--workdir=x", "--output=y"]]
)
def test_incomplete_commands(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main.main(arguments)
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]


def test_defects_keep_their_traceback(monkeypatch):
    def fail(*_):
        raise RuntimeError("a defect")

    monkeypatch.setattr(main, "run_train", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        main.main(["train", "--config=a", "--workdir=b"])


def test_an_interruption_says_how_to_go_on(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "run_train", interrupt)
    assert main.main(["train", "--config=a", "--workdir=b"]) == 130
    assert "goes on from the last checkpoint" in capsys.readouterr().out


def test_a_python_without_the_packages_is_told_where_they_are():
    alone = [sys.executable, "-S", "-E", str(Path(main.__file__)), "weights"]
    done = subprocess.run(alone, capture_output=True, text=True)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"main.py: this Python ({sys.executable}) has no ")
    assert "pip install -r requirements.txt" in line


def test_dead_objects_are_looked_for_again_once_all_is_imported(monkeypatch):
    looked = []
    monkeypatch.setattr(
        commands, "run_weights", lambda *_: looked.append(gc.isenabled())
    )
    monkeypatch.setattr(sys, "argv", ["main.py", "weights"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(main.__file__, run_name="__main__")
    assert stop.value.code == 0
    assert looked == [True]
