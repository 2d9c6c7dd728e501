"""Random brightness, contrast, saturation and hue, as torchvision's ColorJitter."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance

from train.data.augment import Byte
from train.user.errors import UserError

ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def check_jitter(strength: Sequence[float], channels: int) -> None:
    """Raise a UserError if colours are to vary where there are none."""
    if any(strength) and channels != 3:
        raise UserError(
            f"config.data.color_jitter={tuple(strength)} is for images of 3 channels, "
            f"and these have {channels}; set it to (0, 0, 0, 0)"
        )


def jitter(image: Byte, rng: np.random.Generator, strength: Sequence[float]) -> Byte:
    """An image in other colours; as it is, with no draw, where all is zero.

    Brightness, contrast and saturation are multiplied by a factor each, drawn from
    `max(0, 1 - s) … 1 + s`; the hue is turned by a share of the circle, drawn from
    `-s … s`. The order is drawn too.

    Args:
      image: RGB uint8 (H, W, 3).
      rng: makes every draw.
      strength: s of brightness, contrast, saturation and hue.
    """
    if not any(strength):
        return image
    picture = Image.fromarray(image)
    for which in rng.permutation(4):
        s = strength[which]
        if s == 0:
            continue
        if which == 3:
            picture = turn_hue(picture, rng.uniform(-s, s))
        else:
            factor = rng.uniform(max(0.0, 1 - s), 1 + s)
            picture = ENHANCERS[which](picture).enhance(factor)
    return np.array(picture)


def turn_hue(picture: Image.Image, share: float) -> Image.Image:
    """Colours turned by a share of the circle.

    Example:
        >>> red = Image.new("RGB", (1, 1), (255, 0, 0))
        >>> turn_hue(red, 1 / 3).getpixel((0, 0))
        (0, 255, 0)
    """
    hue, saturation, value = picture.convert("HSV").split()
    steps = np.asarray(hue).astype(np.int64) + round(256 * share)
    turned = Image.fromarray((steps % 256).astype(np.uint8))
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")
