"""A look at the data: asked for by a person, or at the start of a training."""

import logging
from pathlib import Path

import jax

from train.data.dataset import Dataset
from train.data.statistics import Statistics, read_statistics
from train.evaluation.pictures import write_picture
from train.inspection.findings import Finding, Split, find
from train.inspection.report import in_full, in_short, marked
from train.inspection.sheet import sheet
from train.user.errors import UserError
from train.user.folders import writable_folder

log = logging.getLogger("ema_jax")


def look(dataset: Dataset, train: str, val: str, output: str | None) -> str:
    """What two splits hold, as text; with a folder, a picture of each goes there.

    Raises:
      UserError: there is no such split, or the folder cannot be written.
    """
    splits, found = examine(dataset, train, val)
    lines = [in_full(splits, dataset.class_names, found)]
    if output is not None:
        writable_folder("output", output)
        for split in splits:
            path = Path(output, f"{split.name}.png")
            write_picture(path, sheet(dataset, split))
            lines.append(f"pictures of '{split.name}' are in {path}")
    return "\n".join(lines)


def check(dataset: Dataset, train: str, val: str, *, suspicious: str) -> Statistics:
    """The statistics of the training split, once nothing is wrong with both.

    What is found is logged, on the first process.

    Args:
      dataset: of both splits.
      train: split to train on.
      val: split to evaluate on.
      suspicious: "stop", or "warn": a training that would be in vain goes on.

    Raises:
      UserError: something is suspicious, and a training shall stop there.
    """
    splits, found = examine(dataset, train, val)
    stopping = [finding.text for finding in found if finding.stops]
    if stopping and suspicious == "stop":
        raise UserError(
            f"{'; '.join(stopping)}; or go on with --config.data.suspicious=warn"
        )
    if jax.process_index() == 0:
        for split in splits:
            log.info(in_short(split))
        for finding in found:
            log.warning(marked(finding))
    return splits[0].statistics


def examine(
    dataset: Dataset, train: str, val: str
) -> tuple[list[Split], list[Finding]]:
    """Both splits, or the one that both are, and all that is suspicious in them."""
    splits = [
        Split(name, read_statistics(dataset, name))
        for name in dict.fromkeys([train, val])
    ]
    return splits, find(splits[0], splits[-1], dataset.class_names)
