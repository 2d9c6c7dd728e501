"""Classes joined to others, or ignored."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from train.data.access import IGNORE_LABEL
from train.data.builder import Contents, Example
from train.data.masks import decode_mask, encode_mask
from train.user.errors import UserError
from train.user.names import nearest

IGNORE = "ignore"


def map_labels(contents: Contents, pairs: Sequence[tuple[str, str]]) -> Contents:
    """The data set whose first classes of `pairs` are their second ones.

    What is joined to a class that is not there makes a new one, in the place of the
    first that is; what is joined to "ignore" counts nowhere.

    Raises:
      UserError: a class that is not there, or is joined twice.
    """
    names, targets = contents.class_names, check_pairs(pairs, contents.class_names)
    became = [targets.get(name, name) for name in names]
    left = [name for name in dict.fromkeys(became) if name != IGNORE]
    if len(left) < 2:
        raise UserError(
            f"config.data.label_map leaves {len(left)} of {len(names)} classes; "
            "leave two or more"
        )
    classes = np.full(IGNORE_LABEL + 1, IGNORE_LABEL, np.uint8)
    for number, name in enumerate(became):
        classes[number] = IGNORE_LABEL if name == IGNORE else left.index(name)
    origin = [names.index(n) if n in names else became.index(n) for n in left]
    return replace(
        contents,
        class_names=tuple(left),
        palette=contents.palette[origin],
        splits={
            split: partial(_relabelled, examples, classes)
            for split, examples in contents.splits.items()
        },
        fingerprint=f"{contents.fingerprint}-{_digest(became)}",
    )


def check_pairs(
    pairs: Sequence[tuple[str, str]], names: Sequence[str]
) -> dict[str, str]:
    """What each class that is named becomes."""
    targets: dict[str, str] = {}
    for name, target in pairs:
        if name not in names:
            raise UserError(f"config.data.label_map: {name!r}: {nearest(name, names)}")
        if name in targets:
            raise UserError(f"config.data.label_map holds {name!r} twice; remove one")
        targets[name] = target
    return targets


def _relabelled(
    examples: Callable[[], Iterable[Example]], classes: np.ndarray
) -> Iterator[Example]:
    for example in examples():
        label = encode_mask(classes[decode_mask(example.label)])
        yield example._replace(label=label)


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
