"""What a person sees of a training: a progress bar, the log, TensorBoard, a page."""

import io
import logging
import math
import time
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from etils import epath
from PIL import Image
from tqdm import tqdm

from train.evaluation.metrics import scores
from train.report import page
from train.report.events import Events
from train.report.history import History, Row, in_workdir
from train.update.step import StepMetrics
from train.user.files import write_whole

PANEL = "val/image_truth_prediction"

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
        folder = str(self._folder / "tensorboard")
        self._history = None if silent else History(workdir, first_step)
        self._events = None if silent else Events(folder, first_step)
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
        if self._events is not None and picture is not None:
            self._events.picture(step, PANEL, picture)
            self._keep_picture(step, picture)
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

    def rows(self) -> Sequence[Row]:
        """What `metrics.jsonl` holds; nothing on other processes than the first."""
        return [] if self._history is None else self._history.rows

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
        if self._events is None or self._history is None:
            return
        self._history.add(step, figures)
        defined = {name: x for name, x in figures.items() if math.isfinite(x)}
        self._events.scalars(step, defined)

    def flush(self) -> None:
        """Have what was reported on disk, as a killed process would lose it."""
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        """Flush and release."""
        self._bar.close()
        if self._events is not None:
            self._events.close()

    def _keep_picture(self, step: int, picture: np.ndarray) -> None:
        path, png = self._folder / f"pictures/{step:06d}.png", io.BytesIO()
        Image.fromarray(picture).save(png, "PNG")
        with in_workdir(path):
            write_whole(path, png.getvalue())

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
