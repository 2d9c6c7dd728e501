"""Masks as tools write them: images of indices or of colours."""

import io
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from train.data.coding import Values, pack, shown, values_held
from train.data.images import read_bytes
from train.user.errors import UserError

INDEX_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L")
COLOR_MODES = ("RGB", "RGBA", "LA")
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")

_LOSSY = "whose compression alters the values; export the masks as PNG"
_JPEG = f"a JPEG, {_LOSSY}"
LOSSLESS = b"VP8L"  # the chunk of a WebP that holds its pixels
FOREIGN = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".xml": "XML; export 'Segmentation mask' (CVAT) or labelme's JSON",
    ".txt": "text, as YOLO writes it; export 'Segmentation mask' or COCO JSON",
    ".nii": "a NIfTI volume; export its slices as PNG",
    ".npy": "an array of NumPy; save it as PNG",
    ".mat": "a file of MATLAB; write its matrix with imwrite(…, 'mask.png')",
    ".psd": "a file of Photoshop; export the layer as PNG",
}
"""Suffixes of other tools to what they are, and what would do."""

log = logging.getLogger("ema_jax")


class MaskReader:
    """Reads masks; notices where palettes contradict one another.

    Args:
      colored: whether the colours of an RGB image tell the classes; if not, its three
        channels must be one.
    """

    def __init__(self, *, colored: bool = False) -> None:
        self._colored = colored
        self._known: dict[int, tuple[int, Path]] = {}
        self._warned = False

    def __call__(self, path: Path) -> Values:
        """The values (H, W) of a mask, turned by its flag; see `train.data.coding`.

        Raises:
          UserError: it cannot be read, or is no mask.
        """
        data = read_bytes(path, "; restore it, or take it out of its split")
        try:
            with Image.open(io.BytesIO(data)) as image:
                _check_kind(image, path, data)
                upright = ImageOps.exif_transpose(image)
                if upright.mode in INDEX_MODES:
                    return self._indices(upright, path)
                rgb = np.asarray(upright.convert("RGB"))
        except UserError:
            raise
        except Image.DecompressionBombError as error:
            raise UserError(
                f"{path}: is larger than a mask can be ({error}); cut image and mask "
                "into pieces"
            ) from error
        except Exception as error:  # Pillow's decoders raise many types on damage
            raise UserError(
                f"{path}: cannot be read as a mask ({' '.join(str(error).split())}); "
                "replace it, or take it out of its split"
            ) from error
        return pack(rgb) if self._colored else _grey(rgb, path)

    def _indices(self, image: Image.Image, path: Path) -> Values:
        values = np.asarray(image)
        if values.dtype == bool:
            return values.astype(np.uint8)
        if values.size and values.min() < 0:
            raise UserError(f"{path}: holds {values.min()}; classes are 0 or more")
        if image.mode == "P" and not self._warned:
            self._compare(image, values, path)
        return values

    def _compare(self, image: Image.Image, values: Values, path: Path) -> None:
        """Warn, once, if another mask shows a number in another colour."""
        palette = np.zeros(3 * 256, np.uint8)
        given = image.getpalette("RGB") or []
        palette[: len(given)] = given
        colors = pack(palette.reshape(-1, 3)).tolist()
        for number in values_held(values).tolist():
            color = colors[number]
            before, other = self._known.setdefault(number, (color, path))
            if color != before:
                self._warned = True
                log.warning(
                    "%s shows %d as %s, %s as %s: palettes differ, and masks are read "
                    "by number; if the colours tell the classes, save the masks as RGB "
                    'and write the colour of each class as "palette" in meta.json',
                    *(other, number, shown(before), path, shown(color)),
                )
                return


def _grey(rgb: NDArray[np.uint8], path: Path) -> Values:
    if (rgb == rgb[..., :1]).all():
        return rgb[..., 0]
    colors = np.unique(rgb[(rgb != rgb[..., :1]).any(-1)][:1000], axis=0)[:3]
    few = ", ".join(shown(int(pack(color))) for color in colors)
    raise UserError(
        f'{path}: looks like colours ({few}); write that of each class as "palette" in '
        "meta.json, or in labels.csv"
    )


def _check_kind(image: Image.Image, path: Path, data: bytes) -> None:
    if image.format == "JPEG":
        raise UserError(f"{path}: is {_JPEG}")
    if image.format == "WEBP" and LOSSLESS not in data:
        raise UserError(f"{path}: is a WebP, {_LOSSY}")
    if image.mode not in (*INDEX_MODES, *COLOR_MODES):
        raise UserError(
            f"{path}: has mode {image.mode}, neither class numbers nor colours; export "
            "it as a PNG of one channel"
        )
