"""Two processes over loopback: the same numbers as one, and a bounded end."""

import signal
import time

import jax
import numpy as np
import pytest

from tests.faults.trainings import Lab, arrays, scalars, wait_for
from train.devices.distributed import Cluster, find_cluster, is_break
from train.user.errors import UserError

SMALL_STEPS = "optimizer.learning_rate=0.00001"
"""Rounding flips a ReLU now and then; with large steps the losses part from there.

The gradients of a flip differ by a thousandth, and so they are compared less finely.
"""

SLURM = {
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize(
    ("environment", "flags", "wanted"),
    [
        ({}, (), None),
        ({}, ("a:1", 2, 0), Cluster("a:1", 2, 0)),
        ({}, ("a:1", 1, 0), None),
        (SLURM, (), Cluster(None, 4, 3)),
        (SLURM, ("a:1",), Cluster("a:1", 4, 3)),
        (SLURM, ("b:2", 2, 1), Cluster("b:2", 2, 1)),
        (SLURM | {"SLURM_NTASKS": "1"}, (), None),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, (), None),  # no srun
        (OPEN_MPI, ("a:1",), Cluster("a:1", 4, 3, 1)),
        (
            OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:9"},
            (),
            Cluster(None, 4, 3, 1),
        ),
        (OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1"}, (), None),
        (POD, ("a:1", 3), Cluster("a:1", 3, 2)),
        (POD, (None, 1), None),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, (None, 2, 1), Cluster("a:1", 2, 1)),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, (), None),
    ],
)
def test_a_cluster_is_found_where_there_is_one(environment, flags, wanted):
    assert find_cluster(environment, *flags) == wanted


@pytest.mark.parametrize(
    ("environment", "flags", "wanted"),
    [
        ({}, ("a", 2, 0), "--coordinator=a has no port"),
        ({}, ("a:1", 2, 2), "--process_id=2 is none of 2 processes"),
        ({}, ("a:1", 0, 0), "--num_processes=0: give 1 or more"),
        ({}, ("a:1", 2), "give all three"),
        ({}, (None, 2, 1), "give all three"),
        (OPEN_MPI, (), "give --coordinator=HOST:PORT"),
        (POD, (), "this is pod 2 of an indexed job; give --coordinator"),
    ],
)
def test_what_is_missing_is_named(environment, flags, wanted):
    with pytest.raises(UserError) as error:
        find_cluster(environment, *flags)
    assert wanted in str(error.value)
    assert "\n" not in str(error.value)


def test_two_processes_of_two_devices_equal_one_device(lab, tmp_path):
    """20 updates, and evaluations of 5 images, that no batch divides."""
    one, two = tmp_path / "one", tmp_path / "two"
    overrides = (SMALL_STEPS, "checkpoint.every=20")
    run = lab.start(one, *overrides)
    assert run.wait() == [0], run.said()
    run = lab.start(two, *overrides, processes=2, devices=2)
    assert run.wait() == [0, 0], run.said()
    first, second = (log.read_text() for log in run.logs)
    assert "step 20: val mIoU" in first
    assert "step " not in second  # the first process logs

    expected, actual = scalars(one), scalars(two)
    assert list(expected["train/loss"]) == list(range(1, 21))
    assert list(expected["val/mean_iou"]) == [10, 20]
    for name in ("train/loss", "val/mean_iou", "val/pixel_accuracy"):
        assert actual[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5)
    norms = "train/gradient_norm"
    assert actual[norms] == pytest.approx(expected[norms], rel=1e-2)

    state, other = arrays(one, 20), arrays(two, 20)
    assert state.keys() == other.keys()
    for name in [name for name in state if "trace" not in name]:
        np.testing.assert_allclose(other[name], state[name], 1e-5, 1e-5, err_msg=name)
    momentum, others = (
        np.concatenate([tree[name].ravel() for name in state if "trace" in name])
        for tree in (state, other)
    )
    assert np.linalg.norm(others - momentum) < 3e-2 * np.linalg.norm(momentum)


def test_sigterm_on_one_process_saves_all_and_the_other_count_goes_on(lab, tmp_path):
    """Where two processes stop, one of four devices goes on.

    The two have split rows and split momentum, and the one neither.
    """
    split = ("mesh.space=2", "mesh.shard_optimizer=true")
    long = ("num_steps=200", "evaluation.every=200")
    run = lab.start(tmp_path, SMALL_STEPS, *long, *split, processes=2, devices=2)
    wait_for(run, tmp_path / "checkpoints/5")
    run.signal(signal.SIGTERM, process=1)
    assert run.wait(120) == [143, 143], run.said()
    assert run.said().count("SIGTERM: stopped after step") == 1
    [stopped] = [
        int(line.split()[4].rstrip(","))
        for line in run.said().splitlines()
        if line.startswith("SIGTERM: stopped after step")
    ]
    saved = [int(p.name) for p in (tmp_path / "checkpoints").iterdir() if p.is_dir()]
    assert max(saved) == stopped < 200
    more = f"num_steps={stopped + 2}"
    run = lab.start(tmp_path, SMALL_STEPS, more, devices=4)
    assert run.wait() == [0], run.said()
    assert f"resuming {tmp_path} from step {stopped}" in run.said()
    assert list(scalars(tmp_path)["train/loss"]) == list(range(1, stopped + 3))


@pytest.mark.parametrize("killed", [0, 1])
def test_a_process_that_dies_stops_the_other(lab, tmp_path, killed):
    run = lab.start(tmp_path, "num_steps=10000", "checkpoint.every=1", processes=2)
    wait_for(run, tmp_path / "checkpoints/1")
    run.signal(signal.SIGKILL, killed)
    start = time.monotonic()
    statuses = run.wait(90)
    assert time.monotonic() - start < 60
    assert statuses[killed] == -signal.SIGKILL
    assert statuses[1 - killed] != 0
    assert "another task died" in run.logs[1 - killed].read_text()


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("UNAVAILABLE: Failed to send RPC to coordination service. Either the", True),
        ("INTERNAL: Barrier failed because: task is set to ERROR", True),
        ("UNAVAILABLE: Task 1 heartbeat timeout. This indicates that the", True),
        ("UNKNOWN: Gloo all-reduce failed: [pair.cc:538] Read error", True),
        ("RESOURCE_EXHAUSTED: Out of memory allocating 68719476736 bytes", False),
        ("INVALID_ARGUMENT: Shapes must be equal", False),
    ],
)
def test_what_jax_says_when_another_process_is_gone_is_known(said, wanted):
    for kind in (jax.errors.JaxRuntimeError, ValueError):
        assert is_break(kind(said)) is wanted
