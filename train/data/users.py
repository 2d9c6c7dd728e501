"""A user's own augmentation, named in the config."""

import importlib
from collections.abc import Callable

import numpy as np

from train.data.access import IGNORE_LABEL
from train.user.errors import UserError

Augment = Callable[..., tuple[np.ndarray, np.ndarray]]
"""(image, label, rng) -> image, label."""


def load_augment(name: str | None, num_classes: int) -> Augment:
    """The function "module:function" of `config.data.augment`; None: nothing is done.

    It is given an image uint8 (H, W, C), its labels uint8 (H, W) and a generator that
    depends on seed, step and index alone, from which all its randomness must come; and
    returns image and labels, of any one size, in the same types.

    Raises:
      UserError: there is no such function; and when it is called, it fails or returns
        anything else.
    """
    if name is None:
        return lambda image, label, rng: (image, label)
    module, _, function = name.partition(":")
    try:
        call = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"config.data.augment={name!r}: {error}; write MODULE:FUNCTION of a module "
            "that can be imported from here"
        ) from error

    def augment(
        image: np.ndarray, label: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        channels = image.shape[-1]
        try:
            image, label = call(image, label, rng)
        except Exception as error:  # anything that the user's function raises
            raise UserError(
                f"config.data.augment={name!r} fails "
                f"({type(error).__name__}: {' '.join(str(error).split())})"
            ) from error
        _check(name, image, label, num_classes, channels)
        return image, label

    return augment


def _check(
    name: str, image: object, label: object, num_classes: int, channels: int
) -> None:
    """Raise a UserError unless they are an image and its labels."""
    for array, wanted in ((image, f"(H, W, {channels})"), (label, "(H, W)")):
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8:
            kind = getattr(array, "dtype", type(array).__name__)
            raise UserError(
                f"config.data.augment={name!r} returns {kind}; return uint8 {wanted}"
            )
    assert isinstance(image, np.ndarray)
    assert isinstance(label, np.ndarray)
    if image.shape != (*label.shape, channels) or 0 in label.shape:
        raise UserError(
            f"config.data.augment={name!r} returns an image {image.shape} and labels "
            f"{label.shape}; return (H, W, {channels}) and (H, W)"
        )
    if ((label >= num_classes) & (label != IGNORE_LABEL)).any():
        raise UserError(
            f"config.data.augment={name!r} returns labels up to {label.max()}; there "
            f"are 0..{num_classes - 1}, and {IGNORE_LABEL}: resize them by the nearest"
        )
