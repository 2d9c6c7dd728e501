"""TensorBoard's files, read as TensorBoard does: what is there, and when."""

import io

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import SessionLog

from tests.faults.trainings import events, scalars
from train.report.events import Events
from train.user.errors import UserError


@pytest.fixture
def start(tmp_path):
    """start(step): the events of one more start of a training in `tmp_path`."""
    opened = []

    def make(first_step):
        opened.append(Events(str(tmp_path / "tensorboard"), first_step))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_what_is_flushed_is_on_disk(start, tmp_path):
    events = start(0)
    for step in range(1, 40):
        events.scalars(step, {"train/loss": 1 / step, "train/mean_iou": 0.5})
    events.flush()
    found = scalars(tmp_path)  # with no `close`, as after SIGKILL
    assert found["train/loss"] == pytest.approx({n: 1 / n for n in range(1, 40)})
    assert list(found["train/mean_iou"].values()) == [0.5] * 39


def test_a_minute_later_all_can_be_seen(start, tmp_path, monkeypatch):
    now = [5.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    events = start(0)
    for step, seconds in enumerate((1, 58, 2, 1), 1):
        now[0] += seconds
        events.scalars(step, {"loss": 1.0})
        seen = scalars(tmp_path).get("loss", {})
        assert list(seen) == ([], [], [1, 2, 3], [1, 2, 3])[step - 1]


def test_two_starts_in_one_second_are_two_files(start, tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.5)
    for first in (0, 9, 10):
        one = start(first)
        one.scalars(first + 1, {"loss": float(first)})
        one.flush()
    assert scalars(tmp_path) == {"loss": {1: 0.0, 10: 9.0, 11: 10.0}}
    names = sorted(path.name for path in (tmp_path / "tensorboard").iterdir())
    assert [int(name.rsplit(".", 1)[1]) for name in names] == [0, 9, 10]


def test_tensorboard_is_told_where_a_start_begins(start, tmp_path):
    start(20).flush()
    version, begin = events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert (begin.step, begin.session_log.status) == (20, SessionLog.START)


def test_a_picture_is_kept_whole(start, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    one = start(0)
    one.picture(3, "val/panel", pixels)
    one.flush()
    *_, event = events(tmp_path)
    [value] = event.summary.value
    assert (event.step, value.tag) == (3, "val/panel")
    with Image.open(io.BytesIO(value.image.encoded_image_string)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.5)
    folder = tmp_path / "tensorboard"
    Events(str(folder), 0).close()
    [file] = folder.iterdir()
    file.unlink()
    file.symlink_to("/dev/full")
    one = Events(str(folder), 0)
    full = (
        r"tensorboard cannot be written \(No space left on device\); make room, and "
        "the same command goes on from the last checkpoint"
    )
    for write in (one.flush, one.close):
        with pytest.raises(UserError, match=full):
            write()


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"--workdir: .*/tensorboard cannot be writ"):
        Events(str(tmp_path / "file/tensorboard"), 0)
