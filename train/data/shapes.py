"""The embedded data set: textured shapes under one coloured light per scene.

Two of the classes, the amber and the azure disc, differ in their true colour alone. The
light shifts every colour of a scene along the same red-blue axis, so that a disc's
observed colour fits either class; what the light is must be read off the rest of the
scene. The backdrop's tiles have random colours of their own that cancel out only over
the whole scene, so a small window around a disc does not tell the light reliably.
"""

import hashlib
from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from ema_jax.classes import voc_palette
from train.data.builder import Contents, Example
from train.data.masks import encode_mask

CLASS_NAMES = (
    "background",
    "amber disc",
    "azure disc",
    "striped box",
    "checked triangle",
    "banded cross",
    "ringed hexagon",
)
AMBER, AZURE = 1, 2
SPLITS = {"train": range(600), "val": range(600, 720)}

# In units of log(red / blue) / 2. The light is drawn from ±LIGHT, a disc's own colour
# is ±DISC; as DISC is well below LIGHT, the observed colours of both discs overlap.
LIGHT = 0.6
DISC = 0.22
TILE = 0.3  # the spread of the backdrop tiles' own colours
TILE_SIZE = 16  # px
SIDES = (100, 161)  # px, half open
RADII = (17, 30)  # px, half open: objects are 30-60 px across
MAX_COVERED = 0.3  # of an object's area, by the objects drawn after it

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Byte = NDArray[np.uint8]


def scene(seed: int) -> tuple[Byte, Byte]:
    """One scene, the same for the same seed.

    Args:
      seed: a number ≥ 0; the only source of randomness.

    Returns:
      The RGB image (H, W, 3) and the labels (H, W), both uint8, 100-160 px per side. A
      border of 2-3 px around every object carries the ignore label 255.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    height, width = (int(side) for side in rng.integers(*SIDES, size=2))
    albedo, label = _backdrop(rng, height, width)
    taken = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(3, 7))):
        _place(rng, albedo, label, taken)
    return _render(rng, albedo), label


def _backdrop(rng: np.random.Generator, height: int, width: int) -> tuple[Float, Byte]:
    """Tiles whose red-blue shifts sum to zero over the scene, and empty labels."""
    rows, columns = -(-height // TILE_SIZE), -(-width // TILE_SIZE)
    shift = rng.normal(0, TILE, (rows, columns))
    grey = rng.uniform(0.3, 0.5, (rows, columns, 1))
    tiles = grey * _tint(shift - shift.mean())
    enlarged = tiles.repeat(TILE_SIZE, axis=0).repeat(TILE_SIZE, axis=1)
    albedo = enlarged[:height, :width].astype(np.float32)
    return albedo, np.zeros((height, width), np.uint8)


def _tint(shift: NDArray[np.floating] | float) -> NDArray[np.floating]:
    """RGB factors for a shift along the red-blue axis: (…) -> (…, 3)."""
    return np.exp(np.multiply.outer(np.asarray(shift), [1.0, 0.0, -1.0]))


def _place(rng: np.random.Generator, albedo: Float, label: Byte, taken: Mask) -> None:
    """Draws one object into `albedo` and `label`, where it hides no other too much."""
    kind = int(rng.integers(1, len(CLASS_NAMES)))
    radius = int(rng.integers(*RADII))
    height, width = label.shape
    for _ in range(8):
        y = rng.integers(radius // 2, height - radius // 2)
        x = rng.integers(radius // 2, width - radius // 2)
        v, u = _coordinates(rng, height, width, y, x, kind)
        shape = _silhouette(kind, v, u, radius)
        if (shape & taken).sum() <= MAX_COVERED * shape.sum():
            break
    else:
        return
    brightness = _texture(kind, v[shape], u[shape], radius)[..., None]
    albedo[shape] = brightness * _colour(rng, kind)
    _paint_label(label, shape, kind)
    taken |= shape


def _coordinates(
    rng: np.random.Generator, height: int, width: int, y: int, x: int, kind: int
) -> tuple[Float, Float]:
    """Pixel coordinates around (y, x), turned by a random angle except for discs."""
    v, u = np.mgrid[:height, :width].astype(np.float32)
    v, u = v - np.float32(y), u - np.float32(x)
    angle = 0.0 if kind in (AMBER, AZURE) else rng.uniform(-0.5, 0.5)
    sin, cos = np.float32(np.sin(angle)), np.float32(np.cos(angle))
    return cos * v - sin * u, sin * v + cos * u


def _silhouette(kind: int, v: Float, u: Float, radius: int) -> Mask:
    """Which pixels the object covers."""
    match kind:
        case 1 | 2:
            return np.hypot(v, u) <= radius
        case 3:
            return (abs(v) <= 0.75 * radius) & (abs(u) <= radius)
        case 4:
            return (v <= 0.8 * radius) & (0.6 * (v + radius) >= abs(u))
        case 5:
            arm = 0.45 * radius
            return (np.minimum(abs(v), abs(u)) <= arm) & (
                np.maximum(abs(v), abs(u)) <= radius
            )
        case _:
            diagonal = 0.5 * abs(v) + np.float32(np.sqrt(0.75)) * abs(u)
            return np.maximum(abs(v), diagonal) <= 0.9 * radius


def _texture(kind: int, v: Float, u: Float, radius: int) -> Float:
    """The brightness at coordinates (n,), between 0.5 and 1.2."""
    match kind:
        case 1 | 2:
            dots = np.hypot((v + 5) % 10 - 5, (u + 5) % 10 - 5) < 2.5
            return np.where(dots, np.float32(0.6), np.float32(1))
        case 3:
            pattern = (v // 4) % 2
        case 4:
            pattern = (v // 6 + u // 6) % 2
        case 5:
            pattern = (u // 4) % 2
        case _:
            pattern = (np.hypot(v, u) // 4) % 2
    return np.float32(0.5) + np.float32(0.7) * pattern


def _colour(rng: np.random.Generator, kind: int) -> NDArray[np.floating]:
    """The object's own RGB: fixed for the two discs, free for every other shape."""
    if kind == AMBER:
        return 0.45 * _tint(DISC)
    if kind == AZURE:
        return 0.45 * _tint(-DISC)
    return rng.uniform(0.2, 0.7, size=3)


def _paint_label(label: Byte, shape: Mask, kind: int) -> None:
    """Writes the class inside the shape and 255 along its outline."""
    solid = np.pad(shape.astype(np.uint8), 1, mode="edge")
    kernel = np.ones((3, 3), np.uint8)
    label[cv2.dilate(solid, kernel)[1:-1, 1:-1] > 0] = 255
    label[cv2.erode(solid, kernel)[1:-1, 1:-1] > 0] = kind


def _render(rng: np.random.Generator, albedo: Float) -> Byte:
    """The photograph: light, a soft brightness gradient, blur, sensor noise."""
    height, width, _ = albedo.shape
    slope = rng.uniform(-0.15, 0.15, size=2)
    v, u = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    gradient = 1 + slope[0] * v[:, None, None] + slope[1] * u[None, :, None]
    exposure = rng.uniform(0.85, 1.1)
    light = exposure * _tint(rng.uniform(-LIGHT, LIGHT))
    photo = cv2.GaussianBlur((albedo * gradient * light).astype(np.float32), (3, 3), 0)
    noisy = photo + rng.normal(0, 0.02, photo.shape)
    return np.rint(255 * noisy.clip(0, 1)).astype(np.uint8)


def open_shapes(root: str | None = None) -> Contents:
    """What the embedded set consists of; generated, so `root` is not looked at."""
    del root
    return Contents(
        class_names=CLASS_NAMES,
        palette=voc_palette(len(CLASS_NAMES)),
        splits={name: partial(_examples, seeds) for name, seeds in SPLITS.items()},
        fingerprint=_fingerprint(),
    )


def _fingerprint() -> str:
    """Changes with the scenes themselves: a new drawing rule rebuilds the records."""
    digest = hashlib.sha256(repr(SPLITS).encode())
    for seed in range(4):
        for array in scene(seed):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _examples(seeds: range) -> Iterator[Example]:
    for seed in seeds:
        image, label = scene(seed)
        _, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        yield Example(
            name=f"{seed:05d}",
            image=png.tobytes(),
            label=encode_mask(label),
            size=(label.shape[0], label.shape[1]),
        )
