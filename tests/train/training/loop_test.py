"""A real training that is killed, run again, and ends as if nothing had happened."""

import signal

import numpy as np

from tests.faults.trainings import Lab, arrays, scalars, wait_for


def test_killed_and_run_again_ends_bit_for_bit_the_same(tmp_path):
    lab = Lab(tmp_path / "lab")
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    run = lab.start(undisturbed, "checkpoint.every=20")
    assert run.wait() == [0], run.said()
    assert "starting from random weights" in run.said()
    assert "step 20: val mIoU" in run.said()

    run = lab.start(killed)
    wait_for(run, killed / "checkpoints/5")
    run.signal(signal.SIGKILL)
    assert run.wait() == [-signal.SIGKILL]
    assert not (killed / "checkpoints/20").exists()
    run = lab.start(killed)
    assert run.wait() == [0], run.said()
    assert "resuming" in run.said()

    expected, actual = arrays(undisturbed, 20), arrays(killed, 20)
    assert expected.keys() == actual.keys()
    assert any("trace" in key for key in expected)  # momentum is compared too
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value, err_msg=key)
    for workdir in (undisturbed, killed):
        assert list((workdir / "pictures").glob("*.png"))
    assert list(scalars(undisturbed)["train/loss"]) == list(range(1, 21))
    for name in ("train/loss", "val/mean_iou"):  # none is lost with the process
        assert scalars(killed)[name] == scalars(undisturbed)[name]
