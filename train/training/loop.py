"""Training, from a config to the last checkpoint."""

import contextlib
import logging
from functools import partial

import jax
import numpy as np
from etils import epath
from jax.stages import Compiled
from ml_collections import ConfigDict

from train.devices.distributed import compile_together
from train.devices.memory import compile_to_fit
from train.devices.mesh import to_devices
from train.devices.preemption import Preemption
from train.evaluation.choice import FRESH
from train.evaluation.metrics import Scores, table
from train.report.page import NAME
from train.training.batches import load_batches
from train.training.divergence import Divergence
from train.training.evaluations import Evaluations
from train.training.facts import describe
from train.training.plan import make_plan
from train.training.report import Report
from train.update.state import TrainState
from train.update.step import StepMetrics
from train.user.errors import Preempted
from train.workdir.checkpoint import Checkpoints
from train.workdir.resume import start_or_restore

log = logging.getLogger("ema_jax")


def train(config: ConfigDict, workdir: str) -> TrainState:
    """Train to the end or to `config.early_stop`, or go on with `workdir`.

    Leaves there `checkpoints/`, `tensorboard/`, `pictures/`, `metrics.jsonl` and
    `report.html`, and logs the table of scores.

    Returns:
        The final state.

    Raises:
        UserError: a mistake in config, data or workdir; a loss that is not finite.
        Preempted: SIGTERM came; what was trained is saved.
    """
    with contextlib.ExitStack() as stack:
        training = Training(config, workdir, stack)
        stack.enter_context(training.preemption)
        state, result = training.run()
        summary = training.summary(state, result)
    log.info(summary)  # once the last checkpoint is on disk
    return state


class Training:
    """The parts of one training, and its loop."""

    def __init__(self, config: ConfigDict, workdir: str, stack: contextlib.ExitStack):
        """Open everything; what must be closed is pushed on `stack`."""
        self.config, self.workdir = config, workdir
        self.plan = plan = make_plan(config)
        self.checkpoints = Checkpoints(
            workdir,
            keep_last=config.checkpoint.keep_last,
            keep_best=config.checkpoint.keep_best,
        )
        stack.callback(self.checkpoints.close)
        self.state, first_batch = start_or_restore(
            self.checkpoints,
            config,
            plan.classes,
            plan.updates.start,
            plan.updates.state,
            plan.content,
        )
        self.first_step, self.patience = int(self.state.step), FRESH
        if self.first_step:
            self.patience = self.checkpoints.patience(self.first_step)
        data, num_steps = plan.data, plan.length.num_steps
        self.batches = partial(
            load_batches, config, data.train, first_batch, plan.canvas, data.augment
        )
        about = describe(
            config, workdir, data.dataset, self.state, num_steps, data.num_images
        )
        self.report = Report(workdir, self.first_step, num_steps, config.batch_size)
        stack.callback(self.report.close)
        self.evaluations = Evaluations(plan.validation, plan.unit, self.report, about)
        self.preemption = Preemption()
        self.divergence = Divergence(
            skips=config.non_finite == "skip",
            ceiling=config.max_non_finite,
            advice=f"{workdir}; lower config.optimizer.learning_rate "
            f"(now {config.optimizer.learning_rate}) or check the data",
            steps=self.checkpoints.steps,
            say=self.report.line,
        )

    def run(self) -> tuple[TrainState, Scores | None]:
        """Take every remaining step; the scores of the last one, if any remained."""
        config, plan, state = self.config, self.plan, self.state
        num_steps, evaluate_every = plan.length
        if self.first_step:
            self.report.line(f"resuming {self.workdir} from step {self.first_step}")
        batches, train_step = self.batches(), plan.updates.step
        previous: StepMetrics | None = None
        result: Scores | None = None
        for step in range(self.first_step + 1, num_steps + 1):
            if self.patience.is_over(config.early_stop):
                break
            self.stop_if_preempted(state)
            batch = to_devices(next(batches), plan.mesh.batch)
            if step == self.first_step + 1:
                train_step = self.compile(state, batch)
            last = step == num_steps
            evaluates = last or step % evaluate_every == 0
            before = None
            if evaluates:
                before = self.evaluations.initial_bases(state.variables)
            state, metrics = train_step(state, batch)
            self.report.step(metrics)
            if previous is not None:  # checked while the next step already runs
                self.divergence.check(step - 1, previous)
            previous = metrics
            saves = evaluates or step % config.checkpoint.every == 0
            if saves or step % config.log_every == 0:
                self.divergence.check(step, metrics)
                previous = None
                self.report.interval(step, float(plan.updates.schedule(step - 1)))
            if saves:
                result = self.evaluate(step, state, before) if evaluates else None
                self.keep(state, result)
        self.evaluations.show(ended=True)
        return state, result

    def compile(self, state: TrainState, batch: dict[str, jax.Array]) -> Compiled:
        """The program of the training step, known to fit the devices."""
        return compile_to_fit(
            partial(compile_together, self.plan.updates.step),
            state,
            batch,
            devices=jax.local_devices(),
            advice="lower config.batch_size or config.data.crop_size, raise "
            "config.optimizer.accumulation or config.mesh.space, or set "
            "config.model.dtype=bfloat16",
        )

    def stop_if_preempted(self, state: TrainState) -> None:
        """Save the state and raise `Preempted`, where SIGTERM has asked to stop."""
        if not self.preemption.reached():
            return
        step = int(state.step)
        if step > self.first_step:
            self.keep(state, None)
        self.checkpoints.wait()
        raise Preempted(
            f"SIGTERM: stopped after step {step}, which is saved in {self.workdir}; "
            "the same command goes on"
        )

    def evaluate(
        self, step: int, state: TrainState, before: np.ndarray | None
    ) -> Scores:
        """Scores of the validation split, reported, unless SIGTERM comes first."""
        result = self.evaluations.evaluate(
            step, state.variables, before, lambda: self.stop_if_preempted(state)
        )
        self.patience = self.patience.after(self.plan.merit(result))
        return result

    def keep(self, state: TrainState, result: Scores | None) -> None:
        """Save a checkpoint, scored if there was an evaluation.

        A training that goes on from it reports nothing of what came before.
        """
        self.divergence.check_state(state)
        self.report.flush()
        plan = self.plan
        merit = None if result is None else plan.merit(result)
        described = plan.classes.to_json() | {
            "content": plan.content,
            "value_range": plan.data.dataset.value_range,
        }
        self.checkpoints.save(state, self.config, described, merit, self.patience)

    def summary(self, state: TrainState, result: Scores | None) -> str:
        """The table of scores of the final state, and where everything is."""
        if result is None:  # nothing was left to do
            result = self.evaluations.again(
                int(state.step), state.variables, lambda: self.stop_if_preempted(state)
            )
        folder = epath.Path(self.workdir)
        early = (
            f"stopped early: {self.patience.without_gain} evaluations without gain, "
            f"config.early_stop={self.config.early_stop}"
        )
        return "\n".join(
            [
                *[early] * (int(state.step) < self.plan.length.num_steps),
                table(result, self.plan.classes.names),
                f"val mIoU {result.mean_iou:.4f} at step {int(state.step)}",
                f"checkpoints  {folder / 'checkpoints'}",
                f"TensorBoard  {folder / 'tensorboard'}",
                f"pictures     {folder / 'pictures'}",
                f"report       {folder / NAME}",
            ]
        )
