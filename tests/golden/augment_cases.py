"""What augment.npz was computed from: pictures, and the draws of each augmentation."""

import dataclasses

import numpy as np

from tests.golden import cases, seeded

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
NUM_CLASSES = 21
PIXEL_LIMIT = 600


@dataclasses.dataclass(frozen=True)
class Draw:
    """One augmentation; `place` is the crop's top and left, as shares of the room."""

    size: tuple[int, int]
    crop: tuple[int, int]
    scale: float
    place: tuple[float, float]
    flip: bool

    @property
    def name(self) -> str:
        return f"{cases.size_name(self.size)}/x{self.scale}"

    @property
    def scaled(self) -> tuple[int, int]:
        height, width = self.size
        return int(height * self.scale), int(width * self.scale)

    @property
    def corner(self) -> tuple[int, int]:
        """Top and left of the crop, in the scaled and padded picture."""
        sides = zip(self.scaled, self.crop, self.place, strict=True)
        top, left = (int(max(0, side - crop) * share) for side, crop, share in sides)
        return top, left


# Odd sides; the first is as large as those of VOC. Each is padded at some scale along
# one side or both, and cropped at others.
DRAWS = tuple(
    Draw(
        size,
        crop,
        scale,
        place=(index / 6, 1 - index / 6),
        flip=(index + parity) % 2 == 0,
    )
    for parity, (size, crop) in enumerate(
        (((333, 500), (513, 513)), ((37, 53), (45, 41)), ((24, 17), (21, 23)))
    )
    for index, scale in enumerate(SCALES)
)


def picture(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Noise: an image, uint8 [H, W, 3], and labels, uint8 [H, W], 255 among them."""

    def draw(name: str, shape: tuple[int, ...], count: int) -> np.ndarray:
        x = seeded.values(name, shape, seed=cases.IMAGE_SEED) / np.sqrt(12) + 0.5
        return np.clip(np.floor(x * count), 0, count - 1).astype(np.uint8)

    label = draw("augment.label", size, NUM_CLASSES + 1)
    label[label == NUM_CLASSES] = cases.IGNORE_LABEL
    return draw("augment.image", (*size, 3), 256), label


def sample(x: np.ndarray) -> np.ndarray:
    """Of [H, W, ...] about PIXEL_LIMIT pixels, evenly spread; the step is odd."""
    pixels = x.reshape(-1, *x.shape[2:])
    return pixels[:: max(1, len(pixels) // PIXEL_LIMIT) | 1]
