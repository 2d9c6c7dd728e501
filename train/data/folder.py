"""Anyone's own data: images/ and labels/ below one folder.

    root/images/…  root/labels/…            the same stem for an image and its mask
    root/train.txt  root/val.txt            one name per line; or, without lists,
    root/images/train/…  root/labels/train/…    one folder per split, or
    root/train/images/…  root/train/labels/…    the same the other way round
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
SPLIT_NAMES = {name: name for name in LIST_SPLITS} | {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "testing": "test",
}
"""What people call the splits, in lower case."""

MASKS = ("labels", "masks", "annotations", "gt")
"""What people call the folder of the masks; the first that is there is read."""


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
            "images/val; add lists (one name per line) or one folder per split"
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
    for path in sorted(root.glob("*.[tT][xX][tT]")):
        split = split_name(path.stem)
        if split not in LIST_SPLITS:
            continue
        finder = Finder(_folders(root, split))
        named = [(_below_images(name), place) for name, place in read_list(path)]
        if pairs := _pairs(finder, split, named):
            splits[split] = pairs
    return splits


def _below_images(name: str) -> str:
    """A listed name, "images/a.png" say, as one below images/."""
    first, slash, rest = name.replace("\\", "/").removeprefix("./").partition("/")
    return rest if slash and first == "images" else first + slash + rest


def _folders(root: Path, split: str) -> list[tuple[Path, Path]]:
    """Where a listed file may lie: flat, in its split's folder, in another's.

    The last serves trainval.txt over images/train and images/val.
    """
    masks = mask_folder(root)
    flat = [(root / "images", masks)]
    own = {split_name(folder.name): folder for folder in _subfolders(root / "images")}
    names = [split, *(s for s in NEEDED_SPLITS if s != split)]
    return flat + [(own[name], masks / own[name].name) for name in names if name in own]


def _folder_splits(root: Path) -> dict[str, list[Pair]]:
    lists = {split_name(path.stem) for path in root.glob("*.[tT][xX][tT]")}
    lists &= set(LIST_SPLITS)
    masks = mask_folder(root)
    places = [
        (split_name(folder.name), folder, masks / folder.name)
        for folder in _subfolders(root / "images")
    ]
    places += [  # train/images and train/masks
        (split_name(folder.name), folder / "images", mask_folder(folder))
        for folder in _subfolders(root)
        if split_name(folder.name) in LIST_SPLITS and (folder / "images").is_dir()
    ]
    splits = {}
    for split, image_folder, own_masks in places:
        # next to lists, folders may serve other ends: one per city, say
        foreign = bool(lists) and split not in LIST_SPLITS
        if split in lists or foreign:
            continue
        finder = Finder([(image_folder, own_masks)])
        stems = finder.images.stems(image_folder)
        named = [(stem, str(path)) for stem, path in stems.items()]
        if split in splits:
            raise UserError(f"{image_folder}: there is another '{split}'; remove one")
        if not named and split in NEEDED_SPLITS:
            raise UserError(f"{image_folder}: the split is empty; put its images there")
        if pairs := _pairs(finder, split, named):
            splits[split] = pairs
    return splits


def split_name(text: str) -> str:
    """The split that a folder or a list stands for.

    Example:
        >>> split_name("Train"), split_name("valid"), split_name("bonn")
        ('train', 'val', 'bonn')
    """
    return SPLIT_NAMES.get(text.lower(), text)


def mask_folder(root: Path) -> Path:
    """The folder of masks beside images/: labels, or by another common name."""
    return next((root / n for n in MASKS if (root / n).is_dir()), root / MASKS[0])


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in found if not path.name.startswith(".")]


def _pairs(finder: Finder, split: str, named: Sequence[tuple[str, str]]) -> list[Pair]:
    needed = split in NEEDED_SPLITS
    if not needed and not any(finder.has_mask(name) for name, _ in named):
        log.info("split '%s' has no masks and is left out", split)
        return []
    return [finder.pair(name, place) for name, place in named]
