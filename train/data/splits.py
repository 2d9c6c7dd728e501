"""Which images and masks a folder's splits consist of.

Lists decide over folders of the same split. Without either, a share of the images is
taken for validation.
"""

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.data.builder import Pair
from train.data.images import below
from train.data.listing import Finder, no_folder, read_list
from train.data.mask_files import FOREIGN, MASK_SUFFIXES
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
MARKS = ("_mask", "_masks", "_label", "_labels", "_seg", "_gt", "-mask", "_L")
"""What people write behind the stem of an image for its mask."""


@dataclass(frozen=True)
class FolderOptions:
    """How the files of a folder belong together; see `config.data`.

    Attributes:
      mask_pattern: name of the mask of an image, "{}_mask.png" say; None: its stem, or
        that with one of `MARKS`.
      val_share: of the images, taken for validation where nothing says which are.
      group_pattern: a regular expression; images for whose names it finds the same are
        kept together then.
      value_range: what is black and white in images of more than 8 bits.
      in_channels: of the images, as of the network.
    """

    mask_pattern: str | None = None
    val_share: float | None = None
    group_pattern: str | None = None
    value_range: tuple[float, float] | None = None
    in_channels: int = 3


class Splits:
    """The splits of a folder.

    Args:
      root: the folder.
      options: how files belong together.
    """

    def __init__(self, root: Path, options: FolderOptions) -> None:
        self.root, self.options = root, options
        self._lists = {
            split: path
            for path in sorted(root.glob("*.[tT][xX][tT]"))
            if (split := split_name(path.stem)) in LIST_SPLITS
        }

    def find(self) -> dict[str, list[Pair]]:
        """The pairs of each split.

        Raises:
          UserError: there is none, or a file of one is missing.
        """
        splits = self._of_folders() | self._of_lists()
        share = self.options.val_share
        if not splits.keys() & set(NEEDED_SPLITS) and share is not None:
            finder = self._finder([(self.root / "images", mask_folder(self.root))])
            splits = {"train": self._all(finder, self.root / "images", "train")}
        if "train" in splits and "val" not in splits and share is not None:
            splits |= self._shared(splits["train"], share)
        if not splits:
            raise UserError(
                f"{self.root}: has neither train.txt and val.txt nor images/train and "
                f"images/val; {self._mend()}"
            )
        return splits

    def _mend(self) -> str:
        """What to do where there are no splits."""
        around = [self.root.parent, *_subfolders(self.root)]
        if not (self.root / "images").is_dir():
            for folder in around:
                if (folder / "images").is_dir():
                    return f"is it {folder} that is meant?"
        return (
            "add lists (one name per line) or one folder per split, or set "
            "--config.data.val_share=0.2 to split the images/ there"
        )

    def _finder(self, folders: Sequence[tuple[Path, Path]]) -> Finder:
        """Of masks there, and of polygons there or beside the images."""
        return Finder(folders, MASK_SUFFIXES, self._mask_names, (".json",), FOREIGN)

    def _mask_names(self, stem: str) -> Sequence[str]:
        pattern = self.options.mask_pattern
        if pattern is None:
            return (stem, *(stem + mark for mark in MARKS))
        folder, slash, name = stem.rpartition("/")
        return (folder + slash + pattern.replace("{}", name),)

    def _of_lists(self) -> dict[str, list[Pair]]:
        splits = {}
        for split, path in self._lists.items():
            finder = self._finder(self._folders(split))
            lines = read_list(path, finder.has_image)
            if _some_masks(finder, split, lines):
                pairs = [self._listed(finder, *line) for line in lines]
                splits[split] = _distinct(pairs, path)
        return splits

    def _listed(self, finder: Finder, line: str, place: str) -> Pair:
        """The pair of a line: a name, or an image and its mask."""
        image, mask = (self._resolve(part) for part in _columns(line))
        if image and mask:
            return Pair(image.stem, image, mask)
        name = _below_images(line, self.root)
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(
                f"{place}: '{line}' is no name below {self.root / 'images'}; write "
                "that, or the paths of image and mask with a space between"
            )
        return finder.pair(name, place)

    def _resolve(self, text: str) -> Path | None:
        """A file that a path names, from the folder or from its images/."""
        if not text:
            return None
        paths = (self.root / text, self.root / "images" / text)
        return next((path for path in paths if path.is_file()), None)

    def _folders(self, split: str) -> list[tuple[Path, Path]]:
        """Where a listed file may lie: flat, in its split's folder, in another's.

        The last serves trainval.txt over images/train and images/val.
        """
        masks = mask_folder(self.root)
        images = self.root / "images"
        own = {split_name(folder.name): folder for folder in _subfolders(images)}
        names = [split, *(s for s in NEEDED_SPLITS if s != split)]
        there = [own[name] for name in names if name in own]
        return [(images, masks), *((f, masks / f.name) for f in there)]

    def _of_folders(self) -> dict[str, list[Pair]]:
        masks = mask_folder(self.root)
        places = [
            (split_name(folder.name), folder, masks / folder.name)
            for folder in _subfolders(self.root / "images")
        ]
        places += [  # train/images and train/masks
            (split_name(folder.name), folder / "images", mask_folder(folder))
            for folder in _subfolders(self.root)
            if split_name(folder.name) in LIST_SPLITS and (folder / "images").is_dir()
        ]
        splits: dict[str, list[Pair]] = {}
        for split, images, own_masks in places:
            # next to lists, folders may serve other ends: one per city, say
            foreign = bool(self._lists) and split not in LIST_SPLITS
            if split in self._lists or foreign:
                continue
            if split in splits:
                raise UserError(f"{images}: there is another '{split}'; remove one")
            if pairs := self._all(self._finder([(images, own_masks)]), images, split):
                splits[split] = pairs
        return splits

    def _all(self, finder: Finder, images: Path, split: str) -> list[Pair]:
        """Every image below a folder, with its mask."""
        stems = finder.images.stems(images)
        if self.options.mask_pattern is not None:  # masks may lie among the images
            own = {Path(n).stem for stem in stems for n in self._mask_names(stem)}
            stems = {s: path for s, path in stems.items() if path.stem not in own}
        named = [(stem, str(path)) for stem, path in stems.items()]
        if not named and split in NEEDED_SPLITS:
            if not images.is_dir():
                raise UserError(no_folder(images))
            raise UserError(f"{images}: the split is empty; put its images there")
        if not _some_masks(finder, split, named):
            return []
        pairs = [finder.pair(name, place) for name, place in named]
        _mention_others(finder, pairs)
        return pairs

    def _shared(self, pairs: Sequence[Pair], share: float) -> dict[str, list[Pair]]:
        """Training and validation images, by a hash of their names or groups."""
        splits: dict[str, list[Pair]] = {"train": [], "val": []}
        for pair in pairs:
            key = self._group(pair)
            digest = hashlib.sha256(key.encode()).digest()[:8]
            chosen = int.from_bytes(digest) < share * 2**64
            splits["val" if chosen else "train"].append(pair)
        if len(pairs) == 1:
            raise UserError(
                f"{self.root}: has one image alone, and one cannot be for training and "
                "for validation; add others"
            )
        for split, chosen_pairs in splits.items():
            if not chosen_pairs:
                raise UserError(
                    f"config.data.val_share={share} of the {len(pairs)} images in "
                    f"{self.root} leaves none for '{split}'; give another share, or "
                    "write train.txt and val.txt"
                )
        return splits

    def _group(self, pair: Pair) -> str:
        pattern = self.options.group_pattern
        if pattern is None:
            return pair.name
        try:
            match = re.search(pattern, pair.name)
        except re.error as error:
            raise UserError(
                f"config.data.group_pattern={pattern!r} is no regular expression "
                f"({error}); write one, such as '^[^_]+'"
            ) from error
        if match is None:
            raise UserError(
                f"config.data.group_pattern={pattern!r} finds nothing in {pair.name!r} "
                f"({pair.image}); write one that fits all names"
            )
        return next((group for group in match.groups() if group), match.group())


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


def _columns(line: str) -> tuple[str, str]:
    """Image and mask of a line with two, divided by a tab, a comma or a space."""
    for separator in ("\t", ",", " "):
        parts = [part.strip() for part in line.split(separator) if part.strip()]
        if len(parts) == 2:
            return parts[0], parts[1]
    return "", ""


def _below_images(line: str, root: Path) -> str:
    """A listed name, "images/a.png" say, as one below images/."""
    name = line.replace("\\", "/").removeprefix("./")
    name = name.removeprefix(f"{root.as_posix()}/")
    first, slash, rest = name.partition("/")
    return rest if slash and first == "images" else first + slash + rest


def _distinct(pairs: Sequence[Pair], place: Path) -> list[Pair]:
    """The pairs, named by the paths of their images where names would be the same.

    Raises:
      UserError: an image is there twice.
    """
    images, names = Counter(p.image for p in pairs), Counter(p.name for p in pairs)
    twice = next((image for image, count in images.items() if count > 1), None)
    if twice is not None:
        raise UserError(f"{place}: lists {twice} twice; remove one of them")
    return [
        pair._replace(name=str(pair.image.with_suffix("")))
        if names[pair.name] > 1
        else pair
        for pair in pairs
    ]


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in found if not path.name.startswith(".")]


def _some_masks(finder: Finder, split: str, named: Sequence[tuple[str, str]]) -> bool:
    """Whether a split is to be read; one that is not needed may have no masks."""
    if split in NEEDED_SPLITS or any(finder.has_mask(name) for name, _ in named):
        return True
    log.info("split '%s' has no masks and is left out", split)
    return False


def _mention_others(finder: Finder, pairs: Sequence[Pair]) -> None:
    """Say which files in the folders of a split are not read."""
    taken = {path for pair in pairs for path in (pair.image, pair.mask)}
    for folder in dict.fromkeys(f for both in finder.folders for f in both):
        others = [
            path
            for here in below(folder)
            for path in sorted(here.iterdir())
            if path.is_file() and path not in taken and not path.name.startswith(".")
        ]
        if others:
            few = ", ".join(path.name for path in others[:3])
            more = ", …" if len(others) > 3 else ""
            log.warning(
                "%d files in %s are neither an image with a mask nor its mask, and are "
                "passed over: %s%s",
                *(len(others), folder, few, more),
            )
