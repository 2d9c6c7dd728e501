"""The command line: each mistake of a user's is one line that names it.

All in this process, on one workdir with a training of three steps.
"""

import hashlib
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

import main
from configs import default
from ema_jax import MODELS
from ema_jax.weights import load_torch
from tests.micro import MICRO
from tests.quick import kept_programs
from train import commands
from train.configuration.config import field_names
from train.workdir import restore

CONFIG = """
from configs import shapes


def get_config():
    config = shapes.get_config()
    config.num_steps = 3
    config.batch_size = 8
    config.log_every = 1
    config.model.name = "micro"
    config.data.name = "folder"
    config.data.root = {root!r}
    config.data.data_dir = {records!r}
    config.data.crop_size = (33, 33)
    config.evaluation.batch_size = 8
    config.evaluation.canvas_multiple = 64
    config.checkpoint.every = 2
    return config
"""

LOG = ("preparing data set", "resuming")
"""What may be said before an error."""


def write_pair(root: Path, name: str, size=(40, 56), seed: int = 0) -> None:
    """An image, and a mask of the classes 0 and 1 with an ignored corner."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = (pixels[..., 0] > 127).astype(np.uint8)
    mask[:4, :4] = 255
    for folder, array in (("images", pixels), ("labels", mask)):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def write_data(root: Path, classes: str = "dark\nbright\n") -> Path:
    """Six images in the `folder` layout, two of them for validation."""
    for seed in range(6):
        write_pair(root, f"p{seed}", seed=seed)
    (root / "train.txt").write_text("p0\np1\np2\np3\n")
    (root / "val.txt").write_text("p4\np5\n")
    (root / "classes.txt").write_text(classes)
    return root


def contents(folder: Path) -> dict[str, str]:
    """Every file below, with a digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


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
def micro():
    """A model that compiles in seconds, beside the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "micro", MICRO)
        yield


@pytest.fixture(scope="module", autouse=True)
def compiled_programs(tmp_path_factory):
    """A programme is compiled once for all tests of this file."""
    with kept_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("main")


@pytest.fixture(scope="module")
def config_file(folder):
    root = write_data(folder / "data")
    path = folder / "tiny.py"
    path.write_text(CONFIG.format(root=str(root), records=str(folder / "records")))
    return str(path)


@pytest.fixture(scope="module")
def training(folder, config_file):
    """Trains once; the leaves of the config that the training read."""
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
def compilations():
    """How many programs were compiled since the last call."""
    durations: list[str] = []

    def note(event: str, duration: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)

    def count() -> int:
        number = len(durations)
        durations.clear()
        return number

    return count


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


def test_a_program_is_counted(compilations):
    jax.jit(lambda x: x * 3 + 1)(np.arange(7.0))
    assert compilations() > 0


# What a command says of itself.


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


# The config.


def test_a_training_reads_every_field(training):
    assert training == set(field_names(default.get_config()))


def test_no_such_config(refused_at_once, workdir):
    message = refused_at_once(
        "train", "--config=configs/shape.py", "--workdir", workdir
    )
    assert message.startswith("--config=configs/shape.py: no such file; did you mean")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("def get_config(): return nothing", "NameError"),
        ("x = 1", "get_config"),
        ("def get_config(): return 1", "returns a int"),
        ("if", "SyntaxError"),
    ],
)
def test_a_config_that_cannot_be_used(refused_at_once, workdir, tmp_path, text, reason):
    path = tmp_path / "broken.py"
    path.write_text(text)
    message = refused_at_once("train", "--config", path, "--workdir", workdir)
    assert message.startswith(f"--config={path}: ")
    assert reason in message


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("optimizer.learning_rte=1", "did you mean 'optimizer.learning_rate'?"),
        ("learning_rate=1", "did you mean config.optimizer.learning_rate?"),
        ("evaluation.evry=1", "did you mean 'evaluation.every'?"),
        ("seed=one", "--config.seed=one: 'one' is not of type int"),
        ("data.flip=maybe", "'maybe' is not of type bool"),
        ("data.crop_size=33", "'33' is not of type tuple"),
        ("data.crop_size=(33,", "is not of type tuple"),
        ("data.crop_size=(33,33,33)", "config.data.crop_size=(33, 33, 33) cannot be"),
        ("num_steps=0", "config.num_steps=0 cannot be used"),
        ("num_steps=-5", "config.num_steps=-5 cannot be used"),
        ("evaluation.every=0", "config.evaluation.every=0 cannot be used"),
        ("checkpoint.every=0", "config.checkpoint.every=0 cannot be used"),
        ("log_every=0", "config.log_every=0 cannot be used"),
        ("optimizer.pixel_mean=most", "config.optimizer.pixel_mean='most' cannot be"),
        ("batch_size=3", "config.batch_size=3 cannot be divided over 8 devices"),
        ("evaluation.batch_size=3", "config.evaluation.batch_size=3 cannot be divided"),
        ("evaluation.canvas_multiple=12", "is not a multiple of the output stride"),
        ("data.name=folders", "config.data.name='folders' is unknown; did you mean"),
        ("data.train_split=night", "has no split 'night'; it has train, val"),
        ("data.val_split=night", "has no split 'night'; it has train, val"),
        ("model.name=emanet_big", "config.model.name='emanet_big' is unknown"),
        ("model.dtype=half", "config.model.dtype='half' is unknown"),
        ("model.kernel=cosine", "config.model.kernel='cosine' is unknown"),
        ("model.normalization=l3", "config.model.normalization='l3' is unknown"),
        ("model.output_stride=12", "config.model.output_stride=12 is unknown"),
    ],
)
def test_an_override_that_cannot_be_used(train_refused, override, wanted):
    assert wanted in train_refused(override)


@pytest.mark.parametrize(
    "override", ["data.train_split=night", "model.kernel=cosine", "batch_size=3"]
)
def test_a_mistake_makes_no_workdir(refused_at_once, config_file, tmp_path, override):
    workdir = tmp_path / "fresh"
    refused_at_once(
        "train",
        f"--config={config_file}",
        f"--workdir={workdir}",
        f"--config.{override}",
    )
    assert not workdir.exists()


def test_an_option_that_does_not_exist(refused_at_once, config_file, workdir):
    message = refused_at_once(
        "train", "--config", config_file, "--workdir", workdir, "--steps=3"
    )
    assert message == "'--steps=3' is not understood; write --config.FIELD=VALUE"


# The data.


def test_no_data(train_refused, tmp_path):
    message = train_refused(f"data.root={tmp_path / 'nowhere'}")
    assert message.startswith(f"{tmp_path}/nowhere: no such folder")


def test_a_file_in_the_place_of_the_data(train_refused, data):
    path = data / "classes.txt"
    assert f"{path}: no such folder" in train_refused(f"data.root={path}")


def test_data_that_is_not_given(train_refused):
    message = train_refused("data.root=none")
    assert "--config.data.root=" in message


def test_a_list_that_names_a_missing_file(train_refused, data):
    (data / "train.txt").write_text("p0\nghost\n")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/train.txt:2: 'ghost' has no image")


def test_a_missing_mask(train_refused, data):
    (data / "labels/p1.png").unlink()
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/train.txt:2: 'p1' has no mask")


def test_an_unreadable_image(train_refused, data):
    (data / "images/p2.png").write_bytes(b"\x89PNG no more")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/images/p2.png: cannot be read as an image")


def test_a_mask_with_a_value_that_is_no_class(train_refused, data):
    mask = np.zeros((40, 56), np.uint8)
    mask[7, 7] = 9
    Image.fromarray(mask).save(data / "labels/p4.png")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/labels/p4.png: holds 9, neither a class (0..1)")


def test_image_and_mask_of_different_sizes(train_refused, data):
    Image.fromarray(np.zeros((40, 55), np.uint8)).save(data / "labels/p0.png")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/images/p0.png: is 40x56 (height x width), but")


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_split(train_refused, data, split):
    (data / f"{split}.txt").write_text("\n")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"{data}/{split}.txt: the split is empty")


def test_nothing_is_left_of_data_that_was_refused(train_refused, data, tmp_path):
    (data / "images/p5.png").write_text("")
    train_refused(f"data.root={data}")
    assert not list((tmp_path / "records").rglob("*"))


# The workdir.


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("model.name=emanet_r50", "config.model.name='micro', not 'emanet_r50'"),
        ("model.num_bases=4", "config.model.num_bases=None, not 4"),
        ("seed=3", "config.seed=0, not 3"),
        ("batch_size=16", "config.batch_size=8, not 16"),
    ],
)
def test_a_workdir_of_another_training(train_refused, workdir, override, wanted):
    message = train_refused(override)
    assert message.startswith(f"--workdir={workdir} was trained with {wanted}")


def test_a_workdir_of_other_classes(train_refused, workdir, data):
    (data / "classes.txt").write_text("dark\nbright\nblue\n")
    message = train_refused(f"data.root={data}")
    assert message.startswith(f"--workdir={workdir} holds a network of 2 classes, but")


@pytest.mark.parametrize("below", ["", "run", "a/b"])
def test_a_workdir_that_cannot_be_written(
    refused_at_once, config_file, tmp_path, training, below
):
    file = tmp_path / "file"
    file.write_text("mine")
    message = refused_at_once(
        "train", "--config", config_file, "--workdir", file / below
    )
    assert message.startswith(
        f"--workdir: {file / below}/checkpoints cannot be written"
    )
    assert file.read_text() == "mine"


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def damage(checkpoint: Path) -> None:
    for path in (checkpoint / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0\0")


@pytest.mark.parametrize("spoil", [empty, damage])
def test_a_damaged_checkpoint(refused_at_once, config_file, copied, spoil, capsys):
    first = contents(copied / "checkpoints/2")
    spoil(copied / "checkpoints/3")
    evaluate = "evaluate", "--workdir", copied, "--checkpoint=last"
    message = refused_at_once(*evaluate)
    assert message.startswith(f"{copied}/checkpoints/3: the checkpoint cannot be")
    train = ["train", "--config", config_file, "--workdir", str(copied)]
    assert main.main(train) == 0
    said = capsys.readouterr().err.splitlines()
    [line] = [line for line in said if "cannot be restored" in line]
    assert line.startswith(f"{copied}/checkpoints/3: the checkpoint cannot be restored")
    assert line.endswith(f"; it is moved to {copied}/damaged")
    assert f"resuming {copied} from step 2" in said
    assert {p.name for p in (copied / "checkpoints").iterdir()} >= {"2", "3"}
    assert contents(copied / "checkpoints/2") == first


def test_damaged_checkpoints_alone(refused_at_once, config_file, copied):
    """Nothing is moved where there is nothing to go on from."""
    for step in (2, 3):
        damage(copied / "checkpoints" / str(step))
    before = contents(copied / "checkpoints")
    train = "train", "--config", config_file, "--workdir", copied
    message = refused_at_once(*train)
    assert message.startswith(f"{copied}/checkpoints/3: the checkpoint cannot be")
    assert contents(copied / "checkpoints") == before


def test_a_training_goes_on_with_rows_and_momentum_split(config_file, copied, capsys):
    """Four groups of two devices each, after eight that had whole images."""
    split = ("mesh.space=2", "mesh.shard_optimizer=true", "optimizer.norm_groups=4")
    status = main.main(
        [
            *("train", f"--config={config_file}", f"--workdir={copied}"),
            *(f"--config.{field}" for field in ("num_steps=5", *split)),
        ]
    )
    assert status == 0
    said = capsys.readouterr().err
    assert f"resuming {copied} from step 3" in said
    assert "step 5: val mIoU" in said
    scores = []
    for override in ("mesh.space=2", "mesh.space=1"):
        assert (
            main.main(["evaluate", f"--workdir={copied}", f"--config.{override}"]) == 0
        )
        scores.append(capsys.readouterr().out.splitlines()[1:])
    assert scores[0] == scores[1]
    assert len(scores[0]) == 6  # a heading, two classes, three means


def test_a_training_that_does_not_fit(refused, config_file, copied, monkeypatch):
    monkeypatch.setattr("train.devices.memory.free_memory", lambda device: 8e5)
    message = refused(
        "train",
        f"--config={config_file}",
        f"--workdir={copied}",
        "--config.num_steps=5",
    )
    assert message.startswith("the training step needs 0.0")
    assert "config.batch_size" in message


def test_a_damaged_record(refused, folder, config_file, copied, tmp_path, capsys):
    """Bytes of one training record are lost: it stops the training, or is skipped."""
    records = shutil.copytree(folder / "records", tmp_path / "records")
    [path] = records.rglob("*train*")
    data = bytearray(path.read_bytes())
    data[10_000:10_100] = bytes(100)  # of about 8 000 for each of four
    path.write_bytes(data)
    command = ["train", f"--config={config_file}", f"--workdir={copied}"]
    command += [f"--config.data.data_dir={records}", "--config.num_steps=5"]
    message = refused(*command)
    assert "folder/train[" in message
    assert "the record is damaged" in message
    assert main.main([*command, "--config.data.corrupt=skip"]) == 0
    said = capsys.readouterr().err
    assert said.count("skipped, 1 of at most 10") == 1
    assert "step 5: val mIoU" in said


def test_updates_that_are_skipped(config_file, copied, capsys):
    """From an endless one on all are: the ceiling stops, and the checkpoints stay."""
    before = contents(copied / "checkpoints")
    options = ["num_steps=9", "checkpoint.every=9", "non_finite=skip"]
    options += ["optimizer.learning_rate=1e38", "max_non_finite=3"]
    command = ["train", f"--config={config_file}", f"--workdir={copied}"]
    assert main.main([*command, *(f"--config.{option}" for option in options)]) == 2
    *before_it, message = capsys.readouterr().err.splitlines()
    assert message.startswith("error: step "), message
    assert "; 3 updates in a row are not finite; the checkpoint of step 3" in message
    skips = [line.rpartition("; ")[2] for line in before_it if "is skipped" in line]
    assert skips == [f"the update is skipped, {n} so far" for n in (1, 2)]
    assert contents(copied / "checkpoints") == before


def test_a_loss_that_is_not_finite(refused, config_file, copied):
    """The step after an endless one; the checkpoints before it stay."""
    before = contents(copied / "checkpoints")
    message = refused(
        "train",
        f"--config={config_file}",
        f"--workdir={copied}",
        "--config.num_steps=9",
        "--config.checkpoint.every=9",
        "--config.log_every=9",
        "--config.optimizer.learning_rate=1e38",
    )
    assert message.startswith("step 5: the loss is nan")
    assert f"the checkpoint of step 3 is kept in {copied}" in message
    assert "lower config.optimizer.learning_rate" in message
    assert contents(copied / "checkpoints") == before


# Trained networks.


def arguments_of(command: str, workdir: object, folder: Path) -> list[str]:
    image = folder / "data/images/p0.png"
    more = [str(image), f"--output={folder / 'masks'}"] if command == "predict" else []
    return [command, *more, f"--workdir={workdir}"]


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_workdir_that_does_not_exist(refused_at_once, folder, command):
    workdir = folder / "nowhere"
    message = refused_at_once(*arguments_of(command, workdir, folder))
    assert message == f"--workdir={workdir} does not exist; train first"
    assert not workdir.exists()


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize("files", [[], ["checkpoints/"], ["notes.txt"]])
def test_a_workdir_without_checkpoints(
    refused_at_once, folder, tmp_path, command, files
):
    for name in files:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.write_text("")
    before = sorted(tmp_path.rglob("*"))
    message = refused_at_once(*arguments_of(command, tmp_path, folder))
    assert message == f"--workdir={tmp_path} has no checkpoint; train first"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_checkpoint_that_is_not_there(refused_at_once, folder, workdir, command):
    message = refused_at_once(*arguments_of(command, workdir, folder), "--checkpoint=7")
    assert message.startswith(f"--checkpoint=7 is not in {workdir}; there are best, la")


def test_scores_on_data_of_other_classes(refused_at_once, workdir, tmp_path):
    root = write_data(tmp_path / "data", "night\nday\n")
    message = refused_at_once(
        "evaluate",
        f"--workdir={workdir}",
        f"--config.data.root={root}",
        f"--config.data.data_dir={tmp_path / 'records'}",
    )
    assert "tells 2 classes apart (dark, bright); folder has 2 (night, day)" in message


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--split=night", "has no split 'night'; it has train, val"),
        ("--config.data.root=/nowhere/at/all", "/nowhere/at/all: no such folder"),
        ("--config.evaluation.batch_size=3", "config.evaluation.batch_size=3 cannot"),
        ("--config.model.kernel=cosine", "config.model.kernel='cosine' is unknown"),
        ("--config.model.eval_iters=0", "config.model.eval_iters=0 cannot be used"),
        ("--config.modl.kernel=dot", "config.modl.kernel does not exist"),
        ("--config.data.flip=perhaps", "'perhaps' is not of type bool"),
        ("--mask", "'--mask' is not understood"),
    ],
)
def test_an_evaluation_that_cannot_be(refused_at_once, workdir, option, wanted):
    assert wanted in refused_at_once("evaluate", f"--workdir={workdir}", option)


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["num_bases=5"], "bases"),
        (["name=emanet_r50"], "backbone"),
        (["bases_update=gradient", "gradient=unroll"], "bases"),
    ],
)
def test_an_evaluation_of_another_model(refused_at_once, workdir, overrides, wanted):
    message = refused_at_once(
        "evaluate",
        f"--workdir={workdir}",
        *(f"--config.model.{override}" for override in overrides),
    )
    assert message.startswith(f"{workdir}, step 3: config.model does not fit: ")
    assert wanted in message


def test_an_evaluation_on_other_data_of_the_same_classes(workdir, tmp_path, capsys):
    root = write_data(tmp_path / "data")
    options = [
        f"--config.data.root={root}",
        f"--config.data.data_dir={tmp_path / 'records'}",
    ]
    capsys.readouterr()
    assert (
        main.main(["evaluate", f"--workdir={workdir}", "--split=train", *options]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("split train")
    assert [line.split()[0] for line in lines[2:4]] == ["dark", "bright"]


def test_the_iterations_of_an_evaluation_can_be_set(workdir, monkeypatch):
    """The overrides reach the model, which is built before the data is opened."""
    seen = []

    def scores(validation, variables):
        raise commands.UserError("enough")

    class Watched(restore.Validation):
        def __init__(self, split, model, *others):
            seen.append(model.head.context.eval_iters)
            super().__init__(split, model, *others)

    Watched.scores = scores
    monkeypatch.setattr(restore, "Validation", Watched)
    command = ["evaluate", f"--workdir={workdir}"]
    assert main.main(command) == 2
    assert main.main([*command, "--config.model.eval_iters=7"]) == 2
    assert seen == [None, 7]


def test_a_prediction_passes_over_what_is_no_image(refused, workdir, folder, tmp_path):
    images = [folder / "data/images/p0.png", tmp_path / "a.png", tmp_path / "b.png"]
    images[1].write_text("no image")
    output = tmp_path / "masks"
    message = refused(
        "predict", *images, "--output", output, "--workdir", workdir, "--checkpoint=2"
    )
    assert message == (
        f"{images[1]}: cannot be read as an image (no image, or a damaged one); "
        f"{images[2]}: cannot be read as an image (No such file or directory)"
    )
    assert sorted(contents(output)) == [
        "color/p0.png",
        "mask/p0.png",
        "overlay/p0.png",
    ]
    with Image.open(output / "mask/p0.png") as mask:
        assert mask.size == (56, 40)
        assert set(np.unique(np.asarray(mask))) <= {0, 1}


def test_a_prediction_of_nothing(refused_at_once, workdir, tmp_path):
    message = refused_at_once(
        "predict", tmp_path, f"--output={tmp_path / 'out'}", f"--workdir={workdir}"
    )
    assert message.startswith(f"{tmp_path}: holds no image")


def test_a_prediction_that_cannot_be_written(
    refused_at_once, workdir, folder, tmp_path
):
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file/masks"
    message = refused_at_once(
        "predict",
        folder / "data/images/p0.png",
        f"--output={output}",
        f"--workdir={workdir}",
    )
    assert message.startswith(f"--output: {output}/mask cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_prediction_names_the_nearest_field(refused_at_once, workdir, folder):
    command = arguments_of("predict", workdir, folder)
    message = refused_at_once(*command, "--config.evaluation.scale=(1.0,)")
    assert "did you mean 'evaluation.scales'?" in message


def test_a_window_that_does_not_align(refused_at_once, workdir, folder):
    command = arguments_of("predict", workdir, folder)
    message = refused_at_once(*command, "--config.evaluation.window=(32, 33)")
    assert message.startswith("config.evaluation.window=(32, 33) does not align")


def test_a_training_from_nothing_says_so(refused_at_once, config_file, tmp_path):
    message = refused_at_once(
        "train",
        f"--config={config_file}",
        f"--workdir={tmp_path / 'run'}",
        "--config.model.pretrained=none",
    )
    assert message.startswith("config.model.pretrained is not set; give a file")


@pytest.mark.parametrize("option", ["--weights", "--config.model.pretrained"])
def test_weights_that_cannot_be_read(refused_at_once, config_file, tmp_path, option):
    damaged = tmp_path / "weights.safetensors"
    damaged.write_bytes(b"not weights at all")
    command = ["train", f"--workdir={tmp_path / 'run'}"]
    if option == "--weights":
        command = ["evaluate"]
    message = refused_at_once(
        *command, f"--config={config_file}", f"{option}={damaged}"
    )
    assert str(damaged) in message
    assert "no complete safetensors file" in message


def test_weights_need_a_config(refused_at_once):
    message = refused_at_once("evaluate", "--weights=emanet.pth")
    assert "give --config too" in message


def test_a_trained_network_starts_another(workdir, config_file, tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    assert main.main(["convert", workdir, str(weights)]) == 0
    assert " 0.04 M parameters" in capsys.readouterr().out
    network = ["--weights", str(weights), "--config", config_file]
    assert main.main(["evaluate", *network]) == 0
    by_weights = capsys.readouterr().out.splitlines()[1:]
    assert main.main(["evaluate", "--workdir", workdir]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == by_weights

    assert main.main(["convert", workdir, str(weights), "--backbone"]) == 0
    assert load_torch(weights)["params"].keys() == {"backbone"}
