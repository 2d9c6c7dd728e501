"""What a training shows: figures of an interval, log lines, TensorBoard, pictures."""

import logging
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from train.training import report
from train.training.report import Report
from train.update.step import StepMetrics
from train.user.errors import UserError


class Writer:
    """Remembers what TensorBoard would get."""

    def __init__(self, folder, first_step):
        self.folder, self.first_step = folder, first_step
        self.figures, self.images, self.closed = {}, {}, False

    def scalars(self, step, figures):
        self.figures |= {(name, step): value for name, value in figures.items()}

    def picture(self, step, name, pixels):
        self.images[name, step] = pixels

    def close(self):
        self.closed = True


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(report, "time", fake)
    return fake


@pytest.fixture
def writer(monkeypatch):
    made = []

    def make(*arguments, **options):
        made.append(Writer(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(report, "Events", make)
    return lambda: made[-1]


@pytest.fixture
def lines():
    """What the log says, whatever other tests did to its handlers."""
    log, said = logging.getLogger("ema_jax"), []
    handler, level = logging.Handler(), log.level
    handler.emit = lambda record: said.append(record.getMessage())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield said
    log.removeHandler(handler)
    log.setLevel(level)


@pytest.fixture
def shown(tmp_path, clock, writer, lines):
    made = Report(str(tmp_path), first_step=20, num_steps=100, batch_size=4)
    yield made
    made.close()


def metrics(loss, confusion, norm=1.0):
    return StepMetrics(np.float32(loss), np.float32(norm), np.array(confusion))


def test_an_interval_is_the_mean_of_its_steps(shown, clock, writer, lines):
    shown.step(metrics(3.0, [[2, 1], [0, 0]], norm=4.0))
    shown.step(metrics(1.0, [[1, 0], [0, 4]], norm=2.0))
    clock.now += 5
    shown.interval(22, learning_rate=0.25)
    scalars = writer().figures
    assert {name for name, step in scalars} == {
        "train/loss",
        "train/mean_iou",
        "train/images_per_second",
        "train/learning_rate",
        "train/gradient_norm",
        "train/skipped_updates",
    }
    assert scalars["train/loss", 22] == 2
    assert scalars["train/gradient_norm", 22] == 3
    assert scalars["train/learning_rate", 22] == 0.25
    assert scalars["train/images_per_second", 22] == pytest.approx(2 * 4 / 5)
    assert scalars["train/mean_iou", 22] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert lines == [
        "step 22/100: loss 2.0000, mIoU 0.775, images/s 1.6, ETA 195 s"
    ]  # 78 steps of 4 images at 1.6 a second


def test_intervals_do_not_overlap(shown, clock, writer):
    for step, loss in enumerate([5.0, 7.0], start=21):
        shown.step(metrics(loss, np.eye(2)))
        clock.now += step
        shown.interval(step, 0.1)
    assert writer().figures["train/loss", 22] == 7
    assert writer().figures["train/images_per_second", 22] == pytest.approx(4 / 22)


def test_an_evaluation_does_not_slow_the_training_down(shown, clock, writer):
    shown.step(metrics(1.0, np.eye(2)))
    clock.now += 30
    shown.pause(28)
    shown.interval(21, 0.1)
    assert writer().figures["train/images_per_second", 21] == pytest.approx(4 / 2)


def test_nothing_is_said_of_no_steps(shown, writer, lines):
    shown.interval(20, 0.1)
    assert writer().figures == {}
    assert lines == []


def test_an_evaluation_is_shown_and_its_panel_kept(shown, writer, lines, tmp_path):
    panel = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    shown.evaluated(40, {"mean_iou": 0.51234, "loss": 0.9}, panel)
    assert writer().figures == {("val/mean_iou", 40): 0.51234} | {("val/loss", 40): 0.9}
    np.testing.assert_array_equal(writer().images[report.PANEL, 40], panel)
    with Image.open(tmp_path / "pictures/000040.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), panel)
    assert lines == ["step 40: val mIoU 0.5123, loss 0.9000"]


def test_no_picture_without_a_panel(shown, writer, tmp_path):
    shown.evaluated(40, {"mean_iou": 0.5, "loss": 1}, None)
    assert writer().images == {}
    assert not (tmp_path / "pictures").exists()


def test_the_last_validation_stays_in_sight(shown, clock, lines):
    shown.evaluated(20, {"mean_iou": 0.625, "loss": 1}, None)
    shown.step(metrics(1.0, np.eye(2)))
    clock.now += 1
    shown.interval(21, 0.1)
    assert ", val mIoU 0.625, ETA " in lines[-1]


def test_the_eta_shrinks(shown, clock, lines):
    for step in range(21, 25):
        shown.step(metrics(1.0, np.eye(2)))
        clock.now += 2
        shown.interval(step, 0.1)
    left = [int(line.split("ETA ")[1].removesuffix(" s")) for line in lines]
    assert left == [158, 156, 154, 152]
    assert all(later < sooner for sooner, later in pairwise(left))


def test_a_resumed_run_drops_what_a_lost_one_wrote(shown, writer, tmp_path):
    assert writer().first_step == 20
    assert writer().folder == str(tmp_path / "tensorboard")


def test_close(tmp_path, writer):
    Report(str(tmp_path), 0, 10, 8).close()
    assert writer().closed


def test_other_processes_are_silent(tmp_path, monkeypatch, lines, writer):
    monkeypatch.setattr(report.jax, "process_index", lambda: 1)
    silent = Report(str(tmp_path), 0, 10, 8)
    silent.step(metrics(1.0, np.eye(2)))
    silent.interval(1, 0.1)
    silent.evaluated(1, {"mean_iou": 0.5, "loss": 1}, np.zeros((2, 2, 3), np.uint8))
    silent.close()
    assert lines == []
    assert list(tmp_path.iterdir()) == []


def test_skipped_updates_are_counted_and_left_out_of_the_mean(shown, clock, writer):
    bad = metrics(np.nan, [[9, 9], [0, 0]], norm=np.nan)
    shown.step(bad.replace(skipped=np.array(True)))
    shown.step(metrics(1.0, [[1, 0], [0, 4]], norm=2.0))
    clock.now += 5
    shown.interval(22, learning_rate=0.25)
    scalars = writer().figures
    assert scalars["train/skipped_updates", 22] == 1
    assert scalars["train/loss", 22] == 1
    assert scalars["train/gradient_norm", 22] == 2
    assert scalars["train/mean_iou", 22] == 1
    assert scalars["train/images_per_second", 22] == pytest.approx(2 * 4 / 5)


def test_a_picture_that_cannot_be_written_is_named(shown, tmp_path):
    (tmp_path / "pictures").write_text("a file in its place")
    with pytest.raises(UserError, match=r"--workdir: .*/pictures/000040.png cannot be"):
        shown.evaluated(40, {"mean_iou": 0.5, "loss": 1}, np.zeros((2, 2, 3), np.uint8))
