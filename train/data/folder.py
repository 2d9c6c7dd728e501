"""Anyone's own data: images/ and labels/ below one folder.

    root/images/…  root/labels/…            the same stem for an image and its mask
    root/train.txt  root/val.txt            one stem per line; or, without lists,
    root/images/train/…  root/labels/train/…    one folder per split
    root/classes.txt  or  root/meta.json    the names of the classes

`meta.json` holds "classes" and, if wanted, "palette" (one RGB triple per class),
"ignore" (the value of unlabelled pixels, 255 unless said) and "values" (that of each
class in the masks). Where it says neither of the last, two classes may be 0 and any
other value, such as 255, and classes may be counted from one: that is seen, and said.
"""

import logging
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from train.data.builder import Contents, Pair, verified_examples
from train.data.class_file import read_classes
from train.data.listing import Finder, fingerprint, read_list, resolve_root
from train.data.masks import read_mask
from train.data.values import told_or_found
from train.user.errors import UserError

log = logging.getLogger("ema_jax")

NEEDED_SPLITS = ("train", "val")
LIST_SPLITS = (*NEEDED_SPLITS, "trainval", "test")


def open_folder(root: str | None) -> Contents:
    """What the data set below `root` consists of.

    A list decides over a folder of the same split. A split other than train and val
    that has no masks at all, such as a public test set, is left out.

    Raises:
      UserError: no split, no class names, or a file of a split is missing.
    """
    home = resolve_root(root, "folder")
    classes = read_classes(home)
    if len(classes.names) == 1:
        raise UserError(
            f"{home}: has one class alone, '{classes.names[0]}', and nothing to tell "
            "it from; name what is around it as another, such as 'background'"
        )
    splits = _folder_splits(home) | _list_splits(home)
    if not splits:
        raise UserError(
            f"{home}: has neither train.txt and val.txt nor images/train and "
            "images/val; add lists (one stem per line) or one folder per split"
        )
    masks = [partial(read_mask, p.mask) for pairs in splits.values() for p in pairs]
    examples = partial(
        verified_examples,
        num_classes=len(classes.names),
        ignore=classes.ignore,
        values=cache(partial(told_or_found, classes.values, masks, classes.names)),
    )
    return Contents(
        class_names=classes.names,
        palette=classes.palette,
        splits={name: partial(examples, pairs) for name, pairs in splits.items()},
        fingerprint=fingerprint(
            home,
            splits,
            names=classes.names,
            palette=classes.palette.tolist(),
            ignore=classes.ignore,
            values=classes.values,
        ),
    )


def _list_splits(root: Path) -> dict[str, list[Pair]]:
    splits = {}
    for split in LIST_SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            continue
        finder = Finder(_folders(root, split))
        if pairs := _pairs(finder, split, read_list(path)):
            splits[split] = pairs
    return splits


def _folders(root: Path, split: str) -> list[tuple[Path, Path]]:
    """Where a listed file may lie: flat, in its split's folder, in another's.

    The last serves trainval.txt over images/train and images/val.
    """
    names = ["", split, *(s for s in NEEDED_SPLITS if s != split)]
    return [(root / "images" / n, root / "labels" / n) for n in names]


def _folder_splits(root: Path) -> dict[str, list[Pair]]:
    images = root / "images"
    lists = {s for s in LIST_SPLITS if (root / f"{s}.txt").is_file()}
    splits = {}
    for folder in sorted(images.iterdir()) if images.is_dir() else []:
        split = folder.name
        # next to lists, folders may serve other ends: one per city, say
        foreign = bool(lists) and split not in LIST_SPLITS
        if not folder.is_dir() or split.startswith(".") or split in lists or foreign:
            continue
        finder = Finder([(folder, root / "labels" / split)])
        stems = finder.images.stems(folder)
        named = [(stem, str(path)) for stem, path in stems.items()]
        if not named and split in NEEDED_SPLITS:
            raise UserError(f"{folder}: the split is empty; put its images there")
        if pairs := _pairs(finder, split, named):
            splits[split] = pairs
    return splits


def _pairs(finder: Finder, split: str, named: Sequence[tuple[str, str]]) -> list[Pair]:
    needed = split in NEEDED_SPLITS
    if not needed and not any(finder.has_mask(name) for name, _ in named):
        log.info("split '%s' has no masks and is left out", split)
        return []
    return [finder.pair(name, place) for name, place in named]
