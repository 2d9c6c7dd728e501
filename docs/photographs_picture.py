"""Draw docs/photographs.jpg: what the network in `weights/` sees in two photographs.

    python docs/photographs_picture.py

writes it.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from PIL import Image
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ema_jax import Predictor
from train.evaluation.pictures import overlay

DOCS = Path(__file__).parent
WEIGHTS = DOCS.parent / "weights/emanet_lite0_voc_part.safetensors"
TITLES = ("photograph", "classes", "how sure", "what one basis stands for")
SHARE = 0.01
"""Of a picture that a class must have to be named."""


def main() -> None:
    """One line for each photograph."""
    matplotlib.use("Agg")
    predictor = Predictor.load(WEIGHTS)
    names = ("chelsea", "astronaut")
    images = [np.asarray(Image.open(DOCS / f"photographs/{n}.jpg")) for n in names]
    heights = [image.shape[0] / image.shape[1] for image in images]
    figure, lines = plt.subplots(
        2, 4, figsize=(11, 2.75 * sum(heights)), height_ratios=heights, dpi=110
    )
    for image, line in zip(images, lines, strict=True):
        draw(predictor, image, line)
    for axes, title in zip(lines[0], TITLES, strict=True):
        axes.set_title(title, fontsize=11)
    figure.tight_layout(pad=0.3)
    figure.savefig(DOCS / "photographs.jpg", pil_kwargs={"quality": 88})


def draw(predictor: Predictor, image: np.ndarray, line: np.ndarray) -> None:
    """A photograph, its classes by name, the confidence, the basis of its thing."""
    prediction = predictor(image)
    stride = predictor.model.backbone.output_stride
    mask = prediction.mask[::stride, ::stride]
    thing = mask == np.bincount(mask[mask > 0]).argmax()
    maps = predictor.responsibilities(image, lambda found: [telling(found[-1], thing)])
    line[0].imshow(image)
    line[1].imshow(overlay(image, prediction.color))
    name(line[1], prediction.mask, predictor.classes.names)
    line[2].imshow(prediction.confidence, cmap="gray", vmin=0, vmax=1)
    line[3].imshow(maps[-1, ..., 0], cmap="viridis", vmin=0)
    for axes in line:
        axes.set_axis_off()


def telling(maps: np.ndarray, thing: np.ndarray) -> int:
    """The basis of (h, w, K) that stands most for a thing, and least for the rest."""
    height, width = thing.shape
    maps = maps[:height, :width]
    return int((maps[thing].mean(0) - maps[~thing].mean(0)).argmax())


def name(axes: Axes, mask: np.ndarray, names: tuple[str, ...]) -> None:
    """Write the name of each class where most of it is; of the background none."""
    for index in np.unique(mask[mask > 0]):
        inside = mask == index
        if inside.mean() < SHARE:
            continue
        depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        box = {"facecolor": "black", "alpha": 0.6, "pad": 2, "edgecolor": "none"}
        axes.text(x, y, names[index], color="white", ha="center", va="center", bbox=box)


if __name__ == "__main__":
    main()
