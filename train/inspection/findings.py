"""What is suspicious in a training and a validation split, each with its mend."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from train.data.statistics import DAMAGED, TURNED, Statistics

FEW = 5
"""Validation images whose scores say little."""
MUCH = 0.9
"""Share of ignored pixels that leaves little to learn."""
SHOWN = 5


class Finding(NamedTuple):
    """A line for a person.

    Attributes:
      text: what is seen, and what to do about it.
      stops: whether a training would be in vain, or its scores no measure.
    """

    text: str
    stops: bool


class Split(NamedTuple):
    """A split and what it holds."""

    name: str
    statistics: Statistics


def find(train: Split, val: Split, names: Sequence[str]) -> list[Finding]:
    """All that is suspicious; what stops a training first.

    Args:
      train: the training split.
      val: the validation split.
      names: of the classes.
    """
    found = [finding for check in CHECKS for finding in check(train, val, names)]
    return sorted(found, key=lambda finding: not finding.stops)


def _nothing_labelled(
    train: Split, val: Split, names: Sequence[str]
) -> Iterator[Finding]:
    for split in {train.name: train, val.name: val}.values():
        if not split.statistics.pixels.any():
            yield Finding(
                f"every pixel of '{split.name}' is ignored: nothing can be learned or "
                "measured there; correct its masks, or the value that means ignore",
                stops=True,
            )
        elif split.statistics.ignored > MUCH:
            yield Finding(
                f"{split.statistics.ignored:.1%} of the pixels of '{split.name}' are "
                "ignored; look at its masks",
                stops=False,
            )


def _absent_classes(
    train: Split, val: Split, names: Sequence[str]
) -> Iterator[Finding]:
    absent = np.flatnonzero(train.statistics.pixels == 0)
    if 0 < len(absent) < len(names):
        hint = ""
        if train.statistics.ignored > 0 and len(names) - len(absent) == 1:
            hint = ", say what the ignored pixels are"
        yield Finding(
            f"no mask of '{train.name}' holds {_listed(absent, names)}: it cannot be "
            f"learned; add images of it{hint}, or take it out of the classes",
            stops=True,
        )
    missing = np.flatnonzero(val.statistics.pixels == 0)
    missing = np.setdiff1d(missing, absent)
    if 0 < len(missing) < len(names):
        yield Finding(
            f"no mask of '{val.name}' holds {_listed(missing, names)}: its score is "
            "unknown; add images of it",
            stops=False,
        )


def _equal_images(train: Split, val: Split, names: Sequence[str]) -> Iterator[Finding]:
    if train.name == val.name:
        yield Finding(
            f"'{train.name}' is trained on and evaluated on: the scores say nothing of "
            "other images; set config.data.val_split to another",
            stops=True,
        )
        return
    known = set(train.statistics.digests[train.statistics.kinds != DAMAGED].tolist())
    images = zip(val.statistics.names, val.statistics.digests.tolist(), strict=True)
    both = sorted(name for name, digest in images if digest in known)
    if both:
        yield Finding(
            f"{len(both)} of the {len(val.statistics)} images of '{val.name}' are in "
            f"'{train.name}' too ({_few(both)}): the scores say little of other "
            "images; take them out of one",
            stops=True,
        )


def _few_images(train: Split, val: Split, names: Sequence[str]) -> Iterator[Finding]:
    count = len(val.statistics)
    if count < FEW:
        yield Finding(
            f"'{val.name}' has {count} image{'s' * (count > 1)}: its scores will vary "
            "much; move some there",
            stops=False,
        )


def _marked_images(train: Split, val: Split, names: Sequence[str]) -> Iterator[Finding]:
    for split in {train.name: train, val.name: val}.values():
        kinds = split.statistics.kinds
        turned = int(np.char.endswith(kinds, TURNED).sum())
        if turned:
            yield Finding(
                f"{turned} images of '{split.name}' have an orientation flag and are "
                "turned by it, as a mask is by its own",
                stops=False,
            )
        damaged = int((kinds == DAMAGED).sum())
        if damaged:
            yield Finding(
                f"{damaged} records of '{split.name}' are damaged; delete the folder "
                "of the prepared records to write them again",
                stops=False,
            )


CHECKS: tuple[Callable[[Split, Split, Sequence[str]], Iterator[Finding]], ...] = (
    _nothing_labelled,
    _absent_classes,
    _equal_images,
    _few_images,
    _marked_images,
)


def _listed(classes: np.ndarray, names: Sequence[str]) -> str:
    """The names of classes, as many as are read."""
    quoted = [f"'{names[c]}'" for c in classes]
    return f"{_few(quoted)} ({len(quoted)} of {len(names)} classes)"


def _few(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (", …" if len(words) > SHOWN else "")
