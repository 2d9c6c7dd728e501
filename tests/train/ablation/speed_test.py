"""The speed that a training itself reported."""

from train.ablation.run import SPEED, images_per_second
from train.report.history import NAME, History


def speed(folder, values=(), first_step=0):
    """After a start that goes on at a step and reports values at the next ones."""
    history = History(str(folder), first_step)
    for step, value in enumerate(values, start=first_step + 1):
        history.add(step, {"train/loss": 1000 + step, SPEED: value})
        history.add(step, {"val/mean_iou": 0.5})
    return images_per_second(history.rows)


def test_the_median_without_the_compiling(tmp_path):
    assert speed(tmp_path, [1.0, 50.0, 60.0, 70.0]) == 60.0
    # it was killed, and went on
    assert speed(tmp_path, [2.0, 100.0], first_step=4) == 65.0


def test_a_single_interval_is_all_there_is(tmp_path):
    assert speed(tmp_path, [3.0]) == 3.0


def test_nothing_reported(tmp_path):
    assert speed(tmp_path) is None


def test_a_file_that_a_kill_cut_off(tmp_path):
    speed(tmp_path, [1.0, 50.0, 60.0])
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(b"".join(lines[:-1])[:-5])
    assert speed(tmp_path, first_step=3) == 50.0
