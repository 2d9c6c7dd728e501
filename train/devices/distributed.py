"""JAX's distributed runtime, where the environment says that there is a cluster."""

import importlib.util
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import jax
import orbax.checkpoint as ocp
from jax.stages import Compiled

from train.devices.present import TPU, present
from train.user.errors import UserError

PREEMPTED = 143
"""Exit status after SIGTERM, when the training is saved."""

HEARTBEAT_SECONDS = 30
"""A process that is silent for so long is dead, and the others stop."""

SHUTDOWN_SECONDS = 60
"""How long a process that is done waits for the others."""

BREAKS = ("coordination service", "Barrier failed", "heartbeat timeout", "Gloo")
"""What jax says, in errors of several types, where the tie to another process broke."""

ANOTHER_DIED = (
    "another task died or cannot be reached, and its log says why; start all of them "
    "again, and a training goes on from its last checkpoint"
)


@dataclass(frozen=True)
class Cluster:
    """What `jax.distributed.initialize` is told; it finds out what is None.

    Attributes:
        coordinator: HOST:PORT of the first process.
        num_processes: of the whole training.
        process_id: of this process, from 0.
        local_device: the one GPU of its machine that this process takes.
    """

    coordinator: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    local_device: int | None = None

    @property
    def known(self) -> bool:
        """Whether jax has nothing to find out."""
        return None not in (self.coordinator, self.num_processes, self.process_id)


def find_cluster(
    environment: Mapping[str, str],
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> Cluster | None:
    """The cluster of the flags and of the environment; None where there is none.

    All three flags go before the environment; of fewer, Open MPI and SLURM take the
    coordinator alone. Looked for, in this order: Open MPI with more
    than one process, a SLURM step with more than one task, a TPU machine, a pod of a
    Kubernetes indexed job.

    Raises:
        UserError: flags that do not say enough or do not fit.

    Example:
        >>> find_cluster({}, "10.0.0.1:1234", 2, 1)  # doctest: +ELLIPSIS
        Cluster(coordinator='10.0.0.1:1234', num_processes=2, process_id=1, ...)
        >>> find_cluster({}) is None
        True
    """
    coordinator = coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    _check_flags(coordinator, num_processes, process_id)
    if num_processes == 1:
        return None
    flags = Cluster(coordinator, num_processes, process_id)
    if flags.known:
        return flags
    for find in (_open_mpi, _slurm, _tpu, _kubernetes):
        found = find(environment, flags)
        if found is not None:
            return found
    if (num_processes, process_id) != (None, None):
        raise UserError(
            f"--coordinator={coordinator} --num_processes={num_processes} "
            f"--process_id={process_id} do not say enough, and no cluster is found; "
            "give all three"
        )
    return None


def _check_flags(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
    if coordinator is not None and not coordinator.rpartition(":")[2].isdecimal():
        raise UserError(
            f"--coordinator={coordinator} has no port; give one, such as 10.0.0.1:1234"
        )
    if num_processes is not None and num_processes < 1:
        raise UserError(f"--num_processes={num_processes}: give 1 or more")
    if process_id is not None and not 0 <= process_id < (num_processes or 2**31):
        raise UserError(
            f"--process_id={process_id} is none of {num_processes} processes; "
            "count from 0"
        )


def _open_mpi(environment: Mapping[str, str], flags: Cluster) -> Cluster | None:
    size = int(environment.get("OMPI_COMM_WORLD_SIZE", 1))
    if size == 1:
        return None
    # The address of mpirun, that jax takes the coordinator's from; Open MPI 5 has none.
    if flags.coordinator is None and "OMPI_MCA_orte_hnp_uri" not in environment:
        raise UserError(
            f"Open MPI runs {size} processes and does not say where the first one is; "
            "give --coordinator=HOST:PORT, with the host of rank 0 and a free port"
        )
    return Cluster(
        flags.coordinator,
        size,
        int(environment["OMPI_COMM_WORLD_RANK"]),
        int(environment["OMPI_COMM_WORLD_LOCAL_RANK"]),
    )


def _slurm(environment: Mapping[str, str], flags: Cluster) -> Cluster | None:
    # An allocation alone, as in a batch script without srun, has no step.
    if "SLURM_STEP_NODELIST" not in environment or "SLURM_PROCID" not in environment:
        return None
    tasks = int(environment.get("SLURM_NTASKS", 1))
    if tasks == 1:
        return None
    return Cluster(flags.coordinator, tasks, int(environment["SLURM_PROCID"]))


def _tpu(environment: Mapping[str, str], flags: Cluster) -> Cluster | None:
    if environment.get("JAX_PLATFORMS", "tpu").split(",")[0] not in ("", "tpu"):
        return None
    if importlib.util.find_spec("libtpu") is None or not present(TPU):
        return None
    on_gke = {"TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES"} & environment.keys()
    if "TPU_SKIP_MDS_QUERY" in environment and not on_gke:
        return None
    return flags


def _kubernetes(environment: Mapping[str, str], flags: Cluster) -> Cluster | None:
    if not {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys():
        return None
    index = int(environment["JOB_COMPLETION_INDEX"])
    found = Cluster(flags.coordinator, flags.num_processes, index)
    if not found.known and importlib.util.find_spec("kubernetes") is None:
        raise UserError(
            f"this is pod {index} of an indexed job; give --coordinator=HOST:PORT, "
            "with the host of pod 0, and --num_processes (1 for a pod on its own), "
            "or install jax[k8s]"
        )
    return found


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Join the cluster, if there is one; to be called before any use of a device.

    Afterwards only the first process logs.

    Raises:
        UserError: flags that do not fit, or a cluster that cannot be joined.
    """
    cluster = find_cluster(os.environ, coordinator, num_processes, process_id)
    if cluster is None:
        return
    # On CPUs, collectives of two programs under way at a time can block each other.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    options: dict[str, Any] = {}
    if cluster.known:
        options["cluster_detection_method"] = "deactivate"
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.num_processes,
            cluster.process_id,
            cluster.local_device,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=SHUTDOWN_SECONDS,
            **options,
        )
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the cluster cannot be joined ({' '.join(str(error).split())}); look "
            f"whether the first process runs, and {cluster} is right"
        ) from error
    if jax.process_index() > 0:
        logging.getLogger("ema_jax").setLevel(logging.WARNING)


def compile_together(function: Any, *arguments: Any) -> Compiled:
    """Compile a jitted function for some arguments, on all processes.

    Returns once all have: one may take far longer than another, and collectives on a
    CPU wait for 30 seconds only.
    """
    compiled = function.lower(*arguments).compile()
    meet("compiled")
    return compiled


def meet(place: str) -> None:
    """Wait until all processes are here, for an hour at most."""
    if jax.process_count() > 1:
        ocp.multihost.get_barrier_sync_fn()(key=place, timeout_ms=3_600_000)


def is_break(error: Exception) -> bool:
    """Whether an error says that another process is gone, or cannot be reached.

    Example:
        >>> is_break(ValueError("UNKNOWN: Gloo all-reduce failed: Read error"))
        True
    """
    return any(words in str(error) for words in BREAKS)


def end(run: Callable[[], int]) -> NoReturn:
    """Run, and exit with the status that it returns.

    A process that fails among others leaves without the meeting at which all that are
    done say goodbye: the others learn that it is gone, and stop.
    """
    try:
        status = run()
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        if is_break(error):
            print(f"error: {ANOTHER_DIED}", file=sys.stderr)
        status = 1
    if not jax.distributed.is_initialized() or status in (0, PREEMPTED):
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
