"""Anyone's own data: images/ and labels/ below one folder.

    root/images/…  root/labels/…            the same stem for an image and its mask
    root/train.txt  root/val.txt            one name per line; or, without lists,
    root/images/train/…  root/labels/train/…    one folder per split, or
    root/train/images/…  root/train/labels/…    the same the other way round, or
    root/train.json  root/val.json          COCO's annotations of the images below
    root/classes.txt  or  root/meta.json    the names of the classes

What may name the classes, their values and colours, see `train.data.class_file`; what
masks may be, `train.data.mask_files` and `train.data.polygons`; how splits are found,
`train.data.splits`.
"""

from collections.abc import Iterator, Mapping
from functools import cache, partial
from pathlib import Path

from train.data.builder import Contents, Pair, verified_examples
from train.data.class_file import read_classes
from train.data.coding import Values, told_or_found
from train.data.listing import fingerprint, resolve_root
from train.data.mask_files import MaskReader
from train.data.photographs import ValueRange
from train.data.polygons import CocoFile, drawn_classes, paint, read_coco, read_labelme
from train.data.splits import LIST_SPLITS, FolderOptions, Splits, split_name
from train.user.errors import UserError


def open_folder(root: str | None, options: FolderOptions | None = None) -> Contents:
    """What the data set below `root` consists of.

    A list decides over a folder of the same split. A split other than train and val
    that has no masks at all, such as a public test set, is left out.

    Raises:
      UserError: no split, no class names, or a file of a split is missing.
    """
    home = resolve_root(root, "folder")
    options = options or FolderOptions()
    coco = coco_files(home)
    pairs = coco_splits(home, coco) if coco else Splits(home, options).find()
    masks = list(dict.fromkeys(p.mask for split in pairs.values() for p in split))
    classes = read_classes(home, partial(drawn_names, coco, masks))
    names = classes.names
    if len(names) == 1:
        raise UserError(
            f"{home}: has one class alone, '{names[0]}', and nothing to tell "
            "it from; name what is around it as another, such as 'background'"
        )
    drawings = {
        path / name: drawing
        for path, file in coco.items()
        for name, drawing in file.drawings.items()
    }

    read_mask = MaskReader(colored=bool(classes.colors))

    def drawn(path: Path) -> bool:
        return path in drawings or is_labelme(path)

    def read_label(path: Path) -> Values:
        if drawn(path):
            return paint(drawings.get(path) or read_labelme(path), names)
        return read_mask(path)

    coding = partial(
        told_or_found,
        classes.told,
        classes.indices,
        classes.ignore,
        # what is drawn has no numbers to look for
        [partial(read_label, path) for path in masks if not drawn(path)],
        names,
    )
    images = [pair.image for split in pairs.values() for pair in split]
    value_range = ValueRange(images, options.in_channels, options.value_range)
    examples = partial(
        verified_examples,
        num_classes=len(names),
        coding=cache(coding),
        read_label=read_label,
        value_range=value_range,
        channels=options.in_channels,
    )
    return Contents(
        class_names=names,
        palette=classes.palette,
        splits={split: partial(examples, found) for split, found in pairs.items()},
        fingerprint=fingerprint(
            home,
            pairs,
            names=names,
            palette=classes.palette.tolist(),
            indices=classes.indices,
            ignore=classes.ignore,
            colors=sorted(classes.colors.items()),
            value_range=options.value_range,
            **({"channels": value_range.channels} if value_range.channels != 3 else {}),
        ),
        channels=options.in_channels,
        value_range=value_range,
    )


def coco_files(root: Path) -> dict[Path, CocoFile]:
    """The annotation files of COCO in a folder, by their paths.

    `train.json` or `annotations/instances_train2017.json`; and, as Roboflow writes it,
    `train/_annotations.coco.json`.
    """
    places = [*root.glob("*.json"), *(root / "annotations").glob("*.json")]
    found = {}
    for path in sorted([*places, *root.glob("*/_annotations.coco.json")]):
        if path.name != "meta.json" and coco_split(path) is not None:
            found[path] = read_coco(path)
    return found


def coco_split(path: Path) -> str | None:
    """The split of an annotation file; None if its name holds none.

    Example:
        >>> coco_split(Path("annotations/instances_val2017.json"))
        'val'
    """
    stem = path.parent.name if path.name.startswith("_") else path.stem
    parts = stem.lower().removesuffix("2017").replace("-", "_").split("_")
    known = [split_name(part) for part in parts]
    return next((s for s in known if s in LIST_SPLITS), None)


def coco_splits(root: Path, files: Mapping[Path, CocoFile]) -> dict[str, list[Pair]]:
    """The images of annotation files, each with its part of one as mask.

    Raises:
      UserError: an image is not there.
    """
    splits: dict[str, list[Pair]] = {}
    for path, file in files.items():
        split = str(coco_split(path))
        places = [path.parent, root / "images" / split, root / "images", root / split]
        places += [root / f"{split}2017", root]
        for name in file.drawings:
            found = (place / name for place in places)
            image = next((file for file in found if file.is_file()), None)
            if image is None:
                raise UserError(
                    f"{path}: lists {name!r}, which is not in "
                    f"{' or '.join(map(str, dict.fromkeys(places)))}; put it there"
                )
            pair = Pair(str(Path(name).with_suffix("")), image, path / name)
            splits.setdefault(split, []).append(pair)
    return splits


def drawn_names(coco: Mapping[Path, CocoFile], masks: list[Path]) -> list[str]:
    """The names of the classes that polygons have; none where there are masks alone."""
    if coco:
        return drawn_classes(name for file in coco.values() for name in file.names)
    drawn = [path for path in masks if is_labelme(path)]
    return drawn_classes(sorted(set(_labelme_names(drawn)))) if drawn else []


def is_labelme(path: Path) -> bool:
    """Whether a mask is a file of labelme."""
    return path.suffix.lower() == ".json"


def _labelme_names(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        yield from (shape.name for shape in read_labelme(path).shapes)
