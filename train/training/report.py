"""What a person sees of a training: a progress bar, the log, TensorBoard, a page."""

import logging
import math
import shutil
import time
from collections.abc import Mapping

import jax
import numpy as np
from etils import epath
from PIL import Image
from tensorboardX import SummaryWriter
from tqdm import tqdm

from train.evaluation.metrics import scores
from train.report import page
from train.report.history import History
from train.update.step import StepMetrics
from train.user.errors import UserError
from train.user.files import is_remote, write_whole

PANEL = "val/image_truth_prediction"
ROOM = 2**20
"""Bytes that must be free before figures and pictures are written."""

log = logging.getLogger("ema_jax")


class Report:
    """Training figures of the first process; the others are silent.

    A progress bar on a terminal, a line for each interval elsewhere; TensorBoard
    scalars and pictures below `workdir/tensorboard`, the scalars in
    `workdir/metrics.jsonl` too; and `workdir/report.html`.
    """

    def __init__(self, workdir: str, first_step: int, num_steps: int, batch_size: int):
        """Begin at `first_step`; TensorBoard drops what a lost run wrote after it."""
        self.num_steps, self.batch_size = num_steps, batch_size
        self.mean_iou: float | None = None
        self._folder = epath.Path(workdir)
        silent = jax.process_index() > 0
        self._bar = tqdm(
            total=num_steps,
            initial=first_step,
            unit="step",
            dynamic_ncols=True,
            disable=True if silent else None,
        )
        self._log_lines = not silent and bool(self._bar.disable)
        self._writer = (
            None
            if silent
            else SummaryWriter(str(self._folder / "tensorboard"), purge_step=first_step)
        )
        self._history = None if silent else History(workdir, first_step)
        self._pending: list[StepMetrics] = []
        self._since = time.monotonic()

    def step(self, metrics: StepMetrics) -> None:
        """Note the metrics of one step, still on the device."""
        self._pending.append(metrics)
        self._bar.update()

    def pause(self, seconds: float) -> None:
        """Leave `seconds` out of the training speed."""
        self._since += seconds

    def interval(self, step: int, learning_rate: float) -> None:
        """Report the mean of the steps since the last call."""
        if not self._pending:
            return
        metrics, self._pending = jax.device_get(self._pending), []
        now = time.monotonic()
        speed = len(metrics) * self.batch_size / (now - self._since)
        self._since = now
        skipped = sum(bool(m.skipped) for m in metrics)
        metrics = [m for m in metrics if not m.skipped] or metrics
        confusion = np.stack([m.confusion for m in metrics]).sum(0, dtype=np.int64)
        self._show(
            step,
            {
                "loss": float(np.mean([m.loss for m in metrics])),
                "mean_iou": scores(confusion).mean_iou,
                "images_per_second": speed,
                "learning_rate": learning_rate,
                "gradient_norm": float(np.mean([m.gradient_norm for m in metrics])),
                "skipped_updates": skipped,
            },
        )

    def evaluated(
        self,
        step: int,
        figures: Mapping[str, float],
        picture: np.ndarray | None,
        **groups: Mapping[str, float],
    ) -> None:
        """Report the figures of an evaluation, with a panel of pictures.

        The panel goes to TensorBoard and to `workdir/pictures/STEP.png`; `groups` are
        more figures, by name.
        """
        self.mean_iou = figures["mean_iou"]
        self.scalars(step, val=figures, **groups)
        if self._writer is not None and picture is not None:
            self._writer.add_image(PANEL, picture, step, dataformats="HWC")
            self.flush()
            pictures = self._folder / "pictures"
            pictures.mkdir(parents=True, exist_ok=True)
            with (pictures / f"{step:06d}.png").open("wb") as file:
                Image.fromarray(picture).save(file, "PNG")
        self.line(
            f"step {step}: val mIoU {self.mean_iou:.4f}, loss {figures['loss']:.4f}"
        )

    def page(
        self, about: page.About, evaluated: page.Evaluated, *, ended: bool
    ) -> None:
        """Write `report.html`; where that fails, the training goes on without."""
        if self._history is None:
            return
        text = page.render(about, self._history.rows, evaluated, ended=ended)
        path = self._folder / page.NAME
        try:
            write_whole(path, text)
        except OSError as error:
            reason = error.strerror or error
            self.line(f"note: {path} cannot be written ({reason}); make room for it")

    def line(self, text: str) -> None:
        """A line of the log, that leaves the bar whole."""
        if not self._bar.disable:
            self._bar.write(text)
        elif self._log_lines:
            log.info(text)

    def scalars(self, step: int, **groups: Mapping[str, float]) -> None:
        """Write the scalars `GROUP/NAME` of a step, those that are defined."""
        figures = {
            f"{group}/{name}": value
            for group, values in groups.items()
            for name, value in values.items()
        }
        if self._writer is None or self._history is None:
            return
        self._check_room()
        self._history.add(step, figures)
        for name, value in figures.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def flush(self) -> None:
        """Have what was reported on disk, as a killed process would lose it."""
        if self._writer is not None:
            self._check_room()
            self._writer.flush()

    def _check_room(self) -> None:
        """Raise a UserError where the disk is full.

        The thread that writes TensorBoard's file would die, and what waits for it hang.
        """
        if is_remote(self._folder):
            return
        free = shutil.disk_usage(self._folder).free
        if free < ROOM:
            raise UserError(
                f"--workdir={self._folder} has {free} bytes left; make room, "
                "and the same command goes on from the last checkpoint"
            )

    def close(self) -> None:
        """Flush and release."""
        self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def _show(self, step: int, figures: dict[str, float]) -> None:
        self.scalars(step, train=figures)
        shown = {
            "loss": f"{figures['loss']:.4f}",
            "mIoU": f"{figures['mean_iou']:.3f}",
            "images/s": f"{figures['images_per_second']:.1f}",
        }
        if self.mean_iou is not None:
            shown["val mIoU"] = f"{self.mean_iou:.3f}"
        self._bar.set_postfix(shown)
        if self._log_lines:
            left = (self.num_steps - step) * self.batch_size
            eta = left / figures["images_per_second"]
            text = ", ".join(f"{name} {value}" for name, value in shown.items())
            log.info("step %d/%d: %s, ETA %.0f s", step, self.num_steps, text, eta)
