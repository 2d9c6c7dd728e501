"""Small real trainings, `main.py train` in one process or in several, to disturb."""

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import jax
import numpy as np
from orbax.checkpoint import PyTreeCheckpointer, RestoreArgs
from tensorboardX.proto import event_pb2

from tests.faults import forked
from tests.quick import FLAGS

CONFIG = """
from configs import shapes

def get_config():
    config = shapes.get_config()
    config.num_steps = 20
    config.batch_size = 8
    config.log_every = 1
    config.model.name = {model!r}
    config.data.name = "folder"
    config.data.root = {root!r}
    config.data.data_dir = {records!r}
    config.data.crop_size = (33, 33)
    config.data.prefetch = 8
    config.data.num_threads = 1
    config.evaluation.every = 10
    config.evaluation.batch_size = 8
    config.evaluation.canvas_multiple = 32
    config.evaluation.num_pictures = 2
    config.checkpoint.every = 5
    return config
"""


def write_data(root: Path, train: int = 43, val: int = 5) -> None:
    """Noisy images of coloured tiles, of several sizes, in the `folder` layout."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            tiles = rng.integers(0, 3, (4, 4 + i % 2))
            label = np.kron(tiles, np.ones((10, 10))).astype(np.uint8)
            noise = rng.integers(0, 80, (*label.shape, 3), np.uint8)
            cv2.imwrite(
                str(root / f"images/{split}/{i}.png"), noise + 60 * label[..., None]
            )
            cv2.imwrite(str(root / f"labels/{split}/{i}.png"), label)
    (root / "classes.txt").write_text("a\nb\nc\n")


@dataclass
class Run:
    """The processes of one training; their logs are files."""

    processes: list[BaseProcess]
    logs: list[Path]

    def signal(self, number: signal.Signals, process: int | None = None) -> None:
        """Send a signal to one process, or to all."""
        chosen = self.processes if process is None else [self.processes[process]]
        for one in chosen:
            if one.is_alive():
                os.kill(one.pid, number)

    def wait(self, timeout: float = 600) -> list[int]:
        """The exit statuses, once all have ended; what hangs is killed."""
        deadline = time.monotonic() + timeout
        for process in self.processes:
            process.join(max(0.1, deadline - time.monotonic()))
        if any(process.is_alive() for process in self.processes):
            self.signal(signal.SIGABRT)  # each shows where it is
            for process in self.processes:
                process.join()
            raise AssertionError(f"still running:\n{self.said()}")
        return [process.exitcode for process in self.processes]

    def said(self) -> str:
        """What all processes have logged."""
        return "\n".join(log.read_text() for log in self.logs)

    def running(self) -> bool:
        """Whether no process has ended."""
        return all(process.is_alive() for process in self.processes)


@dataclass
class Lab:
    """A folder with data and a config; `start` trains there.

    The model "nano" is that of `tests/micro.py`.
    """

    folder: Path
    model: str = "nano"
    starts: int = field(default=0)

    def __post_init__(self) -> None:
        write_data(self.folder / "data")
        self.config = self.folder / "config.py"
        self.config.write_text(
            CONFIG.format(
                model=self.model,
                root=str(self.folder / "data"),
                records=str(self.folder / "records"),
            )
        )

    def environment(self, devices: int = 1) -> dict[str, str]:
        """That of a process of ours with as many devices."""
        flags = [f"--xla_force_host_platform_device_count={devices}", *FLAGS]
        return os.environ | {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": " ".join(flags),
        }

    def start(
        self,
        workdir: Path,
        *overrides: str,
        processes: int = 1,
        devices: int = 1,
    ) -> Run:
        """Begin or go on with a training of `processes` times `devices`."""
        self.starts += 1
        cluster = [f"--coordinator=127.0.0.1:{free_port()}"]
        cluster.append(f"--num_processes={processes}")
        environment = self.environment(devices)
        run = Run([], [])
        for index in range(processes):
            command = ["train", "--config", str(self.config)]
            command += ["--workdir", str(workdir)]
            command += [f"--config.{override}" for override in overrides]
            if processes > 1:
                command += [*cluster, f"--process_id={index}"]
            log = self.folder / f"log{self.starts}.{index}"
            run.processes.append(forked.start(command, environment, log))
            run.logs.append(log)
        return run


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(run: Run, path: Path, timeout: float = 300) -> None:
    """Until a file or folder exists."""
    deadline = time.monotonic() + timeout
    while not path.exists():
        assert run.running(), run.said()
        assert time.monotonic() < deadline, run.said()
        time.sleep(0.002)


def scalars(workdir: Path) -> dict[str, dict[int, float]]:
    """TensorBoard's figures by name and step; a later run's replace an earlier's."""
    found: dict[str, dict[int, float]] = {}
    for event in events(workdir):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def events(workdir: Path) -> Iterator[event_pb2.Event]:
    """What TensorBoard's files hold, in the order in which they were written last."""
    files = (workdir / "tensorboard").iterdir()
    for file in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        data, position = file.read_bytes(), 0
        while position + 12 <= len(data):
            [length] = struct.unpack_from("<Q", data, position)
            body = data[position + 12 : position + 12 + length]
            if len(body) == length:  # a killed run leaves a part
                yield event_pb2.Event.FromString(body)
            position += length + 16


def arrays(workdir: Path, step: int) -> dict[str, np.ndarray]:
    """Every array of a checkpoint's state."""
    path = workdir / "checkpoints" / str(step) / "state"
    reader = PyTreeCheckpointer()
    shapes = reader.metadata(path.absolute()).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: RestoreArgs(restore_type=np.ndarray), shapes)
    tree = reader.restore(path.absolute(), restore_args=as_numpy)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(tree)
    }
