"""What the tests of the commands write and read."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

CONFIG = """
from configs import shapes


def get_config():
    config = shapes.get_config()
    config.num_steps = 3
    config.batch_size = 8
    config.log_every = 1
    config.model.name = "small"
    config.data.name = "folder"
    config.data.root = {root!r}
    config.data.data_dir = {records!r}
    config.data.crop_size = (33, 33)
    config.data.prefetch = 8
    config.evaluation.batch_size = 8
    config.evaluation.canvas_multiple = 64
    config.checkpoint.every = 2
    return config
"""


def write_pair(root: Path, name: str, size=(40, 56), seed: int = 0) -> None:
    """An image, and a mask of the classes 0 and 1 with an ignored corner."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = (pixels[..., 0] > 127).astype(np.uint8)
    mask[:4, :4] = 255
    for folder, array in (("images", pixels), ("labels", mask)):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def write_data(root: Path, classes: str = "dark\nbright\n") -> Path:
    """Six images in the `folder` layout, two of them for validation."""
    for seed in range(6):
        write_pair(root, f"p{seed}", seed=seed)
    (root / "train.txt").write_text("p0\np1\np2\np3\n")
    (root / "val.txt").write_text("p4\np5\n")
    (root / "classes.txt").write_text(classes)
    return root


def contents(folder: Path) -> dict[str, str]:
    """Every file below, with a digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def arguments_of(command: str, workdir: object, folder: Path) -> list[str]:
    image = folder / "data/images/p0.png"
    more = [str(image), f"--output={folder / 'masks'}"] if command == "predict" else []
    return [command, *more, f"--workdir={workdir}"]
