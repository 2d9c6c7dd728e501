"""Files of the Hugging Face hub, fetched once and held to the hub's own checksum.

What `huggingface_hub` does is not done here: its cache, which HF_HOME moves, its
progress bar, going on with a broken download, and letting one process fetch while the
others wait.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from train.user.errors import UserError

PREFIX = "hf:"
"""Of the name of a file on the hub."""

USUAL = ("model.safetensors", "pytorch_model.bin")
"""What files of weights are called there; the first that is there is read."""

CHECKSUM = re.compile("[0-9a-f]{64}")


class HubFile(NamedTuple):
    """A file of weights on the hub.

    Attributes:
        repository: such as "timm/resnet50s.gluon_in1k".
        file: its path there; None: the first of `USUAL`.
        sha256: of its content, where it is known.
    """

    repository: str
    file: str | None = None
    sha256: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Where it may be."""
        return USUAL if self.file is None else (self.file,)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"https://huggingface.co/{self.repository}/resolve/main/{self.files[0]}"

    def __str__(self) -> str:
        """As `named` reads it."""
        return PREFIX + "/".join(filter(None, (self.repository, self.file)))


def named(source: str) -> HubFile:
    """The file that `hf:ORG/REPO` or `hf:ORG/REPO/FILE` names.

    Raises:
        UserError: another form.

    Example:
        >>> named("hf:timm/resnet50.tv_in1k/model.safetensors").file
        'model.safetensors'
    """
    parts = source.removeprefix(PREFIX).split("/", 2)
    if len(parts) < 2 or not all(parts):
        raise UserError(f"{source} names no file of the hub; give hf:ORG/REPO/FILE")
    return HubFile("/".join(parts[:2]), parts[2] if len(parts) > 2 else None)


def cached(wanted: HubFile) -> Path | None:
    """Where it is on this machine; None: it is not."""
    from huggingface_hub import try_to_load_from_cache  # loads much

    for file in wanted.files:
        found = try_to_load_from_cache(wanted.repository, file)
        if isinstance(found, str):
            return Path(found)
    return None


def fetch(wanted: HubFile) -> Path:
    """Where it is on this machine, once it has been fetched.

    What is there already is taken as it is, without asking the hub.

    Raises:
        UserError: it cannot be fetched, there is no such file, or its content is not
            what the hub says that it is.
    """
    with _explained(wanted):
        path = cached(wanted) or _download(wanted)
    _verify(path, wanted)
    return path


def _download(wanted: HubFile) -> Path:
    from huggingface_hub import errors, hf_hub_download  # loads much

    *others, last = wanted.files
    for file in others:
        try:
            return Path(hf_hub_download(wanted.repository, file))
        except errors.LocalEntryNotFoundError:
            raise
        except errors.EntryNotFoundError:
            continue
    return Path(hf_hub_download(wanted.repository, last))


@contextmanager
def _explained(wanted: HubFile) -> Iterator[None]:
    """What goes wrong becomes one line, with what mends it."""
    from huggingface_hub import errors  # loads much

    try:
        yield
    except errors.LocalEntryNotFoundError as error:
        raise UserError(
            f"{wanted} is not on this machine, and the hub cannot be reached; fetch "
            f"{wanted.url} where it can, and give the path of the file, or 'random'"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{wanted}: the hub has no repository {wanted.repository}, or shows it to "
            "nobody without a token, such as HF_TOKEN"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"{wanted}: {wanted.repository} has no {' and no '.join(wanted.files)}; "
            f"give the file's name, {PREFIX}{wanted.repository}/FILE"
        ) from error
    except _failures() as error:
        raise UserError(
            f"{wanted} cannot be fetched ({_first_line(error)}); run again to go on"
        ) from error


def _failures() -> tuple[type[Exception], ...]:
    """What a download may raise, by whichever library the hub's own speaks HTTP."""
    from huggingface_hub import errors  # loads much

    bases = errors.HfHubHTTPError.__bases__
    http = tuple(base for base in bases if issubclass(base, Exception))
    return (OSError, errors.HFValidationError, *http)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return shorten(lines[0], 150)


def _verify(path: Path, wanted: HubFile) -> None:
    """Raise a UserError unless a file is what was asked for.

    The cache calls large files by the checksum that the hub says they have.
    """
    blob = path.resolve().name
    said = blob if CHECKSUM.fullmatch(blob) else None
    expected = wanted.sha256 or said
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UserError(
            f"{wanted}: {path.resolve()} has the SHA-256 {found}, not {expected}; "
            "delete it, and it is fetched again"
        )
