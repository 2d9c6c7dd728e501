"""One trained workdir for all tests of the commands, of a training of three steps.

All in this process. The first test file of a run trains, the others find it.
"""

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

import main
from ema_jax import MODELS
from tests.main.files import CONFIG, contents, write_data
from tests.micro import MICRO, SMALL
from train import commands
from train.configuration.config import field_names

LOG = ("preparing data set", "resuming", "train: ", "val: ", "note: ")
"""What may be said before an error."""


class Recording:
    """A config that notes which of its leaves are read by name.

    A section that is iterated over counts as read; the limits of the values, which
    read with [], do not.
    """

    def __init__(self, config: ConfigDict, read: set[str], prefix: str = "") -> None:
        self._config, self._read, self._prefix = config, read, prefix

    def __getattr__(self, name):
        value = getattr(self._config, name)
        if isinstance(value, ConfigDict):
            return Recording(value, self._read, f"{self._prefix}{name}.")
        if name in self._config:
            self._read.add(self._prefix + name)
        return value

    def __getitem__(self, name):
        return self._config[name]

    def __contains__(self, name):
        return name in self._config

    def items(self):
        if self._prefix:
            self._read.update(field_names(self._config, self._prefix))
        return self._config.items()


@pytest.fixture(scope="module", autouse=True)
def models():
    """Models that compile in seconds, beside the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "micro", MICRO)
        patch.setitem(MODELS, "small", SMALL)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all processes that run these tests."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "main"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def config_file(folder):
    path = folder / "small.py"
    path.write_text(
        CONFIG.format(root=str(folder / "data"), records=str(folder / "records"))
    )
    return str(path)


@pytest.fixture(scope="module")
def training(folder, config_file):
    """Trains once; the leaves of the config that the training read."""
    fields = folder / "fields.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not fields.exists():
            fields.write_text(json.dumps(sorted(train_once(folder, config_file))))
    return set(json.loads(fields.read_text()))


def train_once(folder: Path, config_file: str) -> set[str]:
    """Data, records and workdir; the leaves that were read."""
    write_data(folder / "data")
    read: set[str] = set()
    load = commands.load_config
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            commands, "load_config", lambda *given: Recording(load(*given), read)
        )
        status = main.main(
            ["train", "--config", config_file, "--workdir", str(folder / "run")]
        )
    assert status == 0
    return read


@pytest.fixture
def workdir(folder, training):
    """The trained workdir, whose checkpoints no test may touch."""
    checkpoints = folder / "run" / "checkpoints"
    before = contents(checkpoints)
    assert {name.split("/")[0] for name in before} >= {"2", "3"}
    yield str(folder / "run")
    assert contents(checkpoints) == before


@pytest.fixture
def copied(workdir, tmp_path):
    """A copy of it that may change."""
    return Path(shutil.copytree(workdir, tmp_path / "copied"))


@pytest.fixture
def data(folder, config_file, tmp_path):
    """A copy of the data to damage."""
    return Path(shutil.copytree(folder / "data", tmp_path / "data"))


@pytest.fixture
def refused(capsys):
    """refused(*arguments): the one line that the command says before it gives up."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main.main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr().err
        *before, last = captured.splitlines()
        assert last.startswith("error: ")
        assert all(line.startswith(LOG) for line in before), captured
        return last.removeprefix("error: ")

    return run


@pytest.fixture
def refused_at_once(refused, compilations):
    """The same, and nothing is compiled before it."""

    def run(*arguments: object) -> str:
        compilations()
        message = refused(*arguments)
        assert compilations() == 0
        return message

    return run


@pytest.fixture
def train_refused(refused_at_once, config_file, workdir, tmp_path):
    """`train` in the trained workdir with overrides."""

    def run(*overrides: str) -> str:
        return refused_at_once(
            "train",
            f"--config={config_file}",
            f"--workdir={workdir}",
            f"--config.data.data_dir={tmp_path / 'records'}",
            *(f"--config.{override}" for override in overrides),
        )

    return run
