"""The speed that a training itself reported."""

import pytest
from tensorboardX import SummaryWriter

from train.ablation.run import TAG, images_per_second


def write(folder, values):
    with SummaryWriter(str(folder / "tensorboard"), filename_suffix=str(values)) as w:
        for step, value in enumerate(values):
            w.add_scalar("train/loss", 1000 + step, step)
            w.add_scalar(TAG, value, step)


def test_the_median_without_the_compiling(tmp_path):
    write(tmp_path, [1.0, 50.0, 60.0, 70.0])
    assert images_per_second(tmp_path) == 60.0
    write(tmp_path, [2.0, 100.0])  # it was killed, and went on
    assert images_per_second(tmp_path) == 65.0


def test_a_single_interval_is_all_there_is(tmp_path):
    write(tmp_path, [3.0])
    assert images_per_second(tmp_path) == 3.0


def test_nothing_reported(tmp_path):
    assert images_per_second(tmp_path) is None


def test_a_file_that_a_kill_cut_off(tmp_path):
    write(tmp_path, [1.0, 50.0, 60.0])
    [file] = (tmp_path / "tensorboard").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert images_per_second(tmp_path) == pytest.approx(50.0)
