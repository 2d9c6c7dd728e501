"""Finding the files of a data set: lists of names, images and masks by stem."""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.data import images
from train.data.builder import Pair
from train.user.errors import UserError

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")

Names = Callable[[str], Sequence[str]]
"""The stem of an image to those that its mask may have, the likeliest first."""
_FORMAT = 2  # raise it when the same files must give other records


class StemIndex:
    """Files by folder and stem; each folder is listed once.

    Args:
      suffixes: lower case; files with another suffix are not seen.
    """

    def __init__(self, suffixes: Sequence[str]) -> None:
        self._suffixes = suffixes
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def stems(self, folder: Path) -> dict[str, Path]:
        """The files below a folder by stem, sorted, those of subfolders as "sub/stem".

        Empty where there is no such folder.
        """
        found = {}
        for here in images.below(folder):
            for stem, paths in self._files(here).items():
                found[str(here.relative_to(folder) / stem)] = _only(paths)
        return found

    def find(self, folder: Path, name: str) -> Path | None:
        """The file of a name, which may hold subfolders, with its suffix or without."""
        target = folder / composed(name)
        # not target.stem: a name such as "frame.001" has no suffix to strip
        if paths := self._files(target.parent).get(target.name):
            return _only(paths)
        paths = self._files(target.parent).get(target.stem, [])
        return next((p for p in paths if composed(p.name) == target.name), None)

    def _files(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._folders:
            found: dict[str, list[Path]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                suffix = path.suffix.lower()
                if not path.name.startswith(".") and suffix in self._suffixes:
                    found.setdefault(composed(path.stem), []).append(path)
            self._folders[folder] = found
        return self._folders[folder]


def composed(name: str) -> str:
    """A name whose accents are part of their letters: macOS writes them apart."""
    return unicodedata.normalize("NFC", name)


def _only(paths: Sequence[Path]) -> Path:
    """The one file of a stem."""
    if len(paths) > 1:
        raise UserError(
            f"{paths[1]}: has the same stem as {paths[0].name}; rename or remove one, "
            "or write the names with their suffix in a list"
        )
    return paths[0]


class Finder:
    """Pairs of image and mask.

    Args:
      folders: pairs of a folder of images and the folder of their masks; the first that
        holds an image decides.
      mask_suffixes: lower case; what may be a mask. Where several have one stem, the
        first decides.
      mask_names: of an image; None: its own stem.
      drawing_suffixes: of what serves where there is no mask, beside it or the image.
      foreign: suffixes of what is no mask, and what would do.
    """

    def __init__(
        self,
        folders: Sequence[tuple[Path, Path]],
        mask_suffixes: Sequence[str] = MASK_SUFFIXES,
        mask_names: Names | None = None,
        drawing_suffixes: Sequence[str] = (),
        foreign: Mapping[str, str] | None = None,
    ) -> None:
        self.folders = folders
        self.images = StemIndex(images.SUFFIXES)
        self.masks = StemIndex(mask_suffixes)
        self._drawings = StemIndex(drawing_suffixes)
        self._names: Names = mask_names or (lambda stem: (stem,))
        self._foreign = foreign or {}

    def has_image(self, name: str) -> bool:
        """Whether there is an image of that name."""
        return any(self.images.find(folder, name) for folder, _ in self.folders)

    def has_mask(self, name: str) -> bool:
        """Whether there is a mask of that name."""
        stem = bare(name)
        return any(self._mask(*folders, stem) is not None for folders in self.folders)

    def _mask(self, image_folder: Path, mask_folder: Path, stem: str) -> Path | None:
        """The mask of an image, or what serves for it."""
        found = [self.masks.find(mask_folder, name) for name in self._names(stem)]
        found += [self._drawings.find(f, stem) for f in (mask_folder, image_folder)]
        return next((path for path in found if path is not None), None)

    def pairs(self, path: Path) -> list[Pair]:
        """The files of each name in a list file."""
        return [self.pair(name, place) for name, place in read_list(path)]

    def pair(self, name: str, place: str) -> Pair:
        """The two files of `name`.

        Args:
          name: the common stem, or the name of the image file.
          place: where the name was found, for the message.

        Raises:
          UserError: one of them does not exist.
        """
        for image_folder, mask_folder in self.folders:
            image = self.images.find(image_folder, name)
            if image is None:
                continue
            stem = name if image.name != Path(name).name else bare(name)
            mask = self._mask(image_folder, mask_folder, stem)
            if mask is None:
                self._refuse_foreign(mask_folder, stem)
                raise UserError(_missing(place, name, "mask", [mask_folder]))
            return Pair(stem, image, mask)
        image_folders = [folder for folder, _ in self.folders if folder.is_dir()]
        fallback = [self.folders[0][0]]
        raise UserError(_missing(place, name, "image", image_folders or fallback))

    def _refuse_foreign(self, folder: Path, stem: str) -> None:
        """Raise a UserError where a file of that stem lies there, but is no mask."""
        others = StemIndex(tuple(self._foreign))
        for name in self._names(stem):
            if found := others.find(folder, name):
                raise UserError(f"{found}: is {self._foreign[found.suffix.lower()]}")


def _missing(place: str, name: str, kind: str, folders: Sequence[Path]) -> str:
    where = " or ".join(map(str, folders))
    if not any(folder.is_dir() for folder in folders):
        return f"{place}: '{name}' has no {kind}: {no_folder(folders[0])}"
    mend = "add the file or take the name out of the split"
    return f"{place}: '{name}' has no {kind} in {where}; {mend}"


def no_folder(folder: Path) -> str:
    """What to say of a folder that is not there, and what to do."""
    beside = [path.name for path in sorted(folder.parent.glob("[!.]*/"))]
    if not beside:
        return f"there is no folder {folder}; make it"
    return f"there is no folder {folder}, only {', '.join(beside)}; rename one"


def bare(name: str) -> str:
    """A name without the suffix of an image.

    Example:
        >>> bare("bonn/frame.001"), bare("bonn/frame.001.png")
        ('bonn/frame.001', 'bonn/frame.001')
    """
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in images.SUFFIXES else name


def read_list(
    path: Path, is_name: Callable[[str], bool] = lambda text: False
) -> list[tuple[str, str]]:
    """The names in a list file, one per line, each with its place "file:line".

    Blank lines, comments behind # and surrounding spaces do not count; a line with #
    of which `is_name` is true is a name.

    Raises:
      UserError: the file is not text, holds no name, or holds one twice.
    """
    first: dict[str, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name = line.strip()
        if "#" in name and not is_name(name):
            name = "" if name.startswith("#") else name.partition(" #")[0].strip()
        if not name:
            continue
        if name in first:
            raise UserError(
                f"{path}:{number}: '{name}' is already on line {first[name]}; "
                "remove one of them"
            )
        first[name] = number
    if not first:
        raise UserError(f"{path}: the split is empty; write one name per line")
    return [(name, f"{path}:{number}") for name, number in first.items()]


def read_text(path: Path) -> str:
    """A UTF-8 file, with or without a byte order mark; UserError if it is not one."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be opened ({error.strerror}); make it readable"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: cannot be read as text ({error}); save it as UTF-8"
        ) from error


def resolve_root(root: str | None, name: str) -> Path:
    """The user's folder as an absolute path; UserError if not given or not there."""
    option = "give the data set's folder with --config.data.root=…"
    if not root:
        raise UserError(f"data set '{name}' reads your own files; {option}")
    path = Path(root).expanduser().resolve()
    if path.is_file():
        raise UserError(f"{path}: no such folder, but a file; unpack it, and {option}")
    if not path.is_dir():
        raise UserError(f"{path}: no such folder for data set '{name}'; {option}")
    return path


def fingerprint(
    root: Path, splits: Mapping[str, Sequence[Pair]], **settings: Any
) -> str:
    """16 hex digits that change with the files or with what is made of them.

    Args:
      root: the data set's folder.
      splits: its pairs; each file counts with its path, size and time of change.
      **settings: anything else that decides the records, as JSON values.
    """
    listed = {
        split: [(p.name, *_stamp(p.image), *_stamp(p.mask)) for p in pairs]
        for split, pairs in splits.items()
    }
    text = json.dumps([_FORMAT, str(root), listed, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stamp(path: Path) -> tuple[str, int, int]:
    # a mask may be a part of a file
    status = next(p for p in (path, *path.parents) if p.exists()).stat()
    return str(path), status.st_size, status.st_mtime_ns
