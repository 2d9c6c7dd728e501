"""An ablation from the command line to its table, with trainings that are only played.

`run_test.py` looks at a real training, `jobs_test.py` at processes.
"""

import csv
import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure

import main
from train.ablation import command
from train.ablation.command import check_trainings
from train.ablation.folder import (
    COST,
    LOG,
    RESULT,
    held,
    read_specification,
    write_json,
)
from train.ablation.jobs import ROOT

CONFIG = """
from configs.ablations import default


def get_config():
    config = default.get_config()
    config.base = {base!r}
    config.seeds = (0, 1)
    config.axes = (("K", ("model.num_bases=4", "model.num_bases=8")),)
    return config
"""


@pytest.fixture(autouse=True)
def unpainted(monkeypatch):
    """Figures are laid out and not painted: `results_test.py` paints them."""
    monkeypatch.setattr(Figure, "savefig", lambda _, file, **__: file.write(b"PNG"))


@pytest.fixture
def config_file(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    base = ROOT / "configs" / "ablations" / "base" / "shapes.py"
    path.write_text(CONFIG.format(base=str(base)))
    return str(path)


@pytest.fixture
def prepared(monkeypatch):
    """The data sets that were opened; none is written, the root stands for all."""
    opened = []

    def open_dataset(name, *, root, **_):
        opened.append(root)
        return SimpleNamespace(root=root)

    monkeypatch.setattr(command, "open_dataset", open_dataset)
    monkeypatch.setattr(command, "check_trainings", lambda *_: None)
    monkeypatch.setattr(command, "fingerprint", lambda dataset: str(dataset.root))
    return opened


class Played:
    """Trainings by their folder: a mIoU, an error, or an exception to raise."""

    def __init__(self, **outcomes):
        self.outcomes = {name.replace("_", "/"): o for name, o in outcomes.items()}
        self.trained, self.counted, self.costs = [], [], None

    def cost(self, folder, log):
        self.counted.append(folder.parent.name.removeprefix("K="))
        if self.costs is None:
            log.write_text("loading\nerror: it does not fit\n")
        else:
            write_json(folder.parent / COST, {"multiply_adds": self.costs})

    def __call__(self, jobs, at_once, done):
        for index, job in enumerate(jobs):
            folder = Path(job.command[3])
            if "train.ablation.cost" in job.command:
                self.cost(folder, job.log)
                done(index, 1 if self.costs is None else 0)
                continue
            name = f"{folder.parent.name.removeprefix('K=')}/{folder.name[-1]}"
            self.trained.append(name)
            outcome = self.outcomes[name]
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(outcome, int):  # it died
                (folder / LOG).write_text("step 1\nout of memory\n")
            else:
                iters = read_specification(folder).eval_iters or (None,)
                shared = {"mean_iou": outcome, "pixel_accuracy": 0.5}
                scores = [shared | {"eval_iters": t} for t in iters]
                result = {"status": "finished", "error": "", "scores": scores}
                write_json(folder / RESULT, result)
            done(index, -9 if isinstance(outcome, int) else 0)


@pytest.fixture
def play(monkeypatch):
    def begin(**outcomes):
        played = Played(**{name.removeprefix("k"): o for name, o in outcomes.items()})
        monkeypatch.setattr(command, "run_jobs", played)
        return played

    return begin


def ablate(config_file, workdir, *more):
    arguments = ["ablate", "--config", config_file, "--workdir", str(workdir)]
    return main.main([*arguments, *more])


def scores(workdir):
    with (workdir / "results.csv").open() as file:
        return {(r["K"], r["seed"]): r["mean_iou"] for r in csv.DictReader(file)}


def test_killed_and_run_again(config_file, prepared, play, tmp_path, capsys):
    workdir = tmp_path / "w"
    first = play(k4_0=0.5, k8_0=0.25, k4_1=KeyboardInterrupt())
    assert ablate(config_file, workdir) == 130
    assert first.trained == ["4/0", "8/0", "4/1"]
    assert scores(workdir) == {("4", "0"): "0.5", ("8", "0"): "0.25"}
    assert len(prepared) == 1

    second = play(k4_1=0.7, k8_1=0.25)
    assert ablate(config_file, workdir) == 0
    assert second.trained == ["4/1", "8/1"]
    said = capsys.readouterr()
    assert "2 of 4 runs are finished already" in said.err
    assert "K=4/seed1: val mIoU 0.7000 (3 of 4, ETA 0 min)" in said.err
    # 50 and 70: mean 60, sample variance 2 · 10²
    assert "| 4 | 60.00 ± 14.14 | 50.00 ± 0.00 | 0 | 2 |" in said.out
    assert "| 8 | 25.00 ± 0.00 | 50.00 ± 0.00 | -35.00 ± 10.00 | 2 |" in said.out
    assert (workdir / "summary.md").read_text() in said.out
    assert (workdir / "mean_iou.png").exists()

    third = play()
    assert ablate(config_file, workdir) == 0
    assert third.trained == []


def test_the_others_go_on_when_one_fails(config_file, prepared, play, tmp_path, capsys):
    play(k4_0=0.5, k8_0=1, k4_1=0.5, k8_1=0.25)
    assert ablate(config_file, tmp_path / "w") == 2
    folder = tmp_path / "w" / "runs" / "K=8" / "seed0"
    why = f"failed: killed by SIGKILL after 'out of memory'; see {folder / 'log.txt'}"
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == (
        f"error: 1 of 4 runs did not finish, first {folder}: {why}"
    )
    assert f"- runs/K=8/seed0: {why}" in said.out
    assert "| 8 | 25.00 | 50.00 | -25.00 | 1 |" in said.out
    assert scores(tmp_path / "w")["8", "0"] == ""

    again = play(k8_0=0.75)  # what failed is tried again
    assert ablate(config_file, tmp_path / "w") == 0
    assert again.trained == ["8/0"]


ALL = {"k4_0": 0.5, "k8_0": 0.5, "k4_1": 0.5, "k8_1": 0.25}


@pytest.mark.parametrize(
    ("option", "wanted"),
    [
        ("--config.num_steps=5", "K=4/seed0 was begun with another config.num_steps"),
        (
            "--config.data.root=other",
            "K=4/seed0 was begun with other data than what config.data.root=other "
            "holds now; choose another --workdir, or that data",
        ),
    ],
)
def test_other_trainings_in_the_same_workdir(
    config_file, prepared, play, tmp_path, capsys, option, wanted
):
    play(**ALL)
    assert ablate(config_file, tmp_path / "w") == 0
    play()
    assert ablate(config_file, tmp_path / "w", option) == 2
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize(
    "axes",
    ["()", "(('K', ('model.num_bases=4',)), ('λ', ('model.temperature=2.0',)))"],
)
def test_another_ablation_in_the_same_workdir(
    config_file, prepared, play, tmp_path, capsys, axes
):
    play(**ALL)
    workdir = tmp_path / "w"
    assert ablate(config_file, workdir) == 0
    before = (workdir / "summary.md").read_text()
    play()
    assert ablate(config_file, workdir, f"--config.axes={axes}") == 2
    wanted = f"--workdir={workdir} holds the ablation mine over K; choose another"
    assert wanted in capsys.readouterr().err
    assert (workdir / "summary.md").read_text() == before

    more = play(k16_0=0.5, k16_1=0.5)
    points = "('model.num_bases=4', 'model.num_bases=16')"
    assert ablate(config_file, workdir, f"--config.axes=(('K', {points}),)") == 0
    assert more.trained == ["16/0", "16/1"]


def test_two_ablations_at_once(config_file, prepared, play, tmp_path, capsys):
    played = play()
    with held(tmp_path / "w"):
        assert ablate(config_file, tmp_path / "w") == 2
    assert "w is in use by another" in capsys.readouterr().err
    assert played.trained == []


def test_a_result_that_a_power_cut_left_empty(config_file, prepared, play, tmp_path):
    play(**ALL)
    assert ablate(config_file, tmp_path / "w") == 0
    (tmp_path / "w" / "runs" / "K=8" / "seed0" / "result.json").write_text("")
    again = play(k8_0=0.5)
    assert ablate(config_file, tmp_path / "w") == 0
    assert again.trained == ["8/0"]


def test_a_table_that_cannot_be_written(
    config_file, prepared, play, tmp_path, capsys, monkeypatch
):
    def full(path, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    play(**ALL)
    monkeypatch.setattr(command, "write_whole", full)
    assert ablate(config_file, tmp_path / "w") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"error: --workdir: {tmp_path / 'w'} cannot be written "
        "(No space left on device); choose another"
    )


def test_what_is_refused_leaves_all_as_it_was(config_file, prepared, play, tmp_path):
    play(**ALL)
    workdir = tmp_path / "w"
    assert ablate(config_file, workdir) == 0
    last = workdir / "runs" / "K=8" / "seed1" / "run.json"
    last.write_text(last.read_text().replace('"num_bases": 8', '"num_bases": 9'))
    before = {path: path.read_bytes() for path in workdir.rglob("*.json")}
    play()
    assert ablate(config_file, workdir, "--config.eval_iters=(1,)") == 2
    assert before == {path: path.read_bytes() for path in workdir.rglob("*.json")}


def test_other_seeds_in_any_order(config_file, prepared, play, tmp_path):
    play(k4_1=0.5, k8_1=0.5).costs = 1
    options = ("--config.costs=true",)
    assert ablate(config_file, tmp_path / "w", "--config.seeds=(1,)", *options) == 0
    more = play(k4_0=0.5, k8_0=0.5)
    assert ablate(config_file, tmp_path / "w", *options) == 0
    assert more.trained == ["4/0", "8/0"]
    none = play()
    for seeds in ("(1, 0)", "(1,)", "(0,)"):
        seeds = f"--config.seeds={seeds}"
        assert ablate(config_file, tmp_path / "w", seeds, *options) == 0
    assert none.trained == none.counted == []


def test_other_iterations_are_evaluated_anew(config_file, prepared, play, tmp_path):
    play(**ALL)
    assert ablate(config_file, tmp_path / "w") == 0
    again = play(**ALL)
    assert ablate(config_file, tmp_path / "w", "--config.eval_iters=(1, 2)") == 0
    assert again.trained == ["4/0", "8/0", "4/1", "8/1"]


def test_costs_come_apart_and_once_a_point(
    config_file, prepared, play, tmp_path, capsys
):
    workdir = tmp_path / "w"
    play(**ALL)
    assert ablate(config_file, workdir) == 0
    assert "multiply-adds" not in capsys.readouterr().out

    failing = play()
    assert ablate(config_file, workdir, "--config.costs=true") == 0
    assert (failing.trained, failing.counted) == ([], ["4", "8"])
    said = capsys.readouterr()
    assert "K=4: its costs are not known: error: it does not fit\n" in said.err
    assert "| 4 | 50.00 ± 0.00 | 50.00 ± 0.00 | 0 | 2 |" in said.out

    known = play()
    known.costs = 2_000_000_000
    assert ablate(config_file, workdir, "--config.costs=true") == 0
    assert known.counted == ["4", "8"]
    wanted = "| 4 | 50.00 ± 0.00 | 50.00 ± 0.00 | 0 | 2.000 G | 2 |"
    assert wanted in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--jobs=0"], "--jobs=0 cannot be used; give 1 to "),
        (["--workdir=gs://bucket/w"], "--workdir=gs://bucket/w is object storage"),
        (["--config.data.name=folder"], "config.data.root"),
        (["--config.num_stepz=3"], "config.num_stepz does not exist; did you mean"),
    ],
)
def test_a_mistake_is_one_line_and_trains_nothing(
    config_file, play, tmp_path, capsys, options, wanted
):
    played = play()
    assert ablate(config_file, tmp_path / "w", *options) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert wanted in said
    assert said.count("\n") == 1
    assert played.trained == []
    assert not (tmp_path / "w").exists()
    assert not Path("gs:").exists()


def test_a_network_that_cannot_be_is_found_first(
    config_file, prepared, play, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(command, "check_trainings", check_trainings)
    dataset = SimpleNamespace(
        class_names=("a", "b"), num_classes=2, folder="", source=lambda split: None
    )
    monkeypatch.setattr(command, "open_dataset", lambda name, **_: dataset)
    played = play()
    wrong = "--config.model.gradient=unrol"
    assert ablate(config_file, tmp_path / "w", wrong) == 2
    assert "error: config.model.gradient='unrol'" in capsys.readouterr().err
    assert played.trained == []
    assert not (tmp_path / "w").exists()


def test_a_workdir_that_cannot_be_written(config_file, prepared, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert ablate(config_file, tmp_path / "file") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: --workdir: {tmp_path / 'file'} cannot be written (")
