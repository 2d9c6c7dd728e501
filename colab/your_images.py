# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Your own images
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/your_images.ipynb)
#
# From a folder of twenty images with masks to a network that segments the next ones: its
# scores, pictures of what it finds, and one file to take away. It starts from a light
# network's weights of ImageNet, so that few images and a CPU are enough. On a GPU
# (Runtime, Change runtime type) it is faster, and you can turn it up.

# %% [markdown]
# The next cell fetches the project, and installs what a training needs. The jax, flax and
# numpy that are there stay as they are: they are written to a list to which pip is held.
# Where you are in a clone that is installed already, pass the cell over; this notebook
# then wants to be started in the folder of `main.py`.

# %% tags=["install"]
# !git clone --quiet --depth 1 https://github.com/OWNER/ema_jax ema_jax
# %cd ema_jax
# !python -m pip freeze | grep -E "^(jax|flax|numpy)" > installed.txt
# %pip install --quiet --constraint installed.txt ".[train]"

# %%
import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch
from PIL import Image
from tqdm import tqdm

from ema_jax import Predictor
from train.data.shapes import CLASS_NAMES, scene

python = sys.executable
# %env XLA_PYTHON_CLIENT_PREALLOCATE=false

# %% [markdown]
# ## The images
#
# `DATA` is a folder with a picture and a mask of the same name for each image:
#
#     data/
#       images/train/*.jpg   images/val/*.jpg
#       labels/train/*.png   labels/val/*.png    class numbers; 255 is ignored
#       classes.txt                              a class a line
#
# Other layouts and formats (lists of names, colours, COCO, labelme, …) are in
# [docs/data.md](https://github.com/OWNER/ema_jax/blob/main/docs/data.md). **To give your
# own** on Colab, either drag a zip into the file browser at the left, and unpack it with
# `!unzip -q /content/mine.zip -d /content/mine`; or have them on Google Drive:
#
#     from google.colab import drive
#     drive.mount("/content/drive")
#
# and name the folder, such as `/content/mine` or `/content/drive/MyDrive/mine`. As long
# as the folder that is named does not exist, twenty pictures are drawn into it: objects
# under coloured light, blurred and noisy as photographs are.

# %%
DATA = "data"  # @param {type:"string"}

root = Path(DATA)
if not root.exists():
    for split, seeds in {"val": range(4), "train": range(4, 20)}.items():
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        for seed in tqdm(seeds, desc=split):
            image, mask = scene(seed)
            Image.fromarray(image).save(root / "images" / split / f"{seed:02}.png")
            Image.fromarray(mask).save(root / "labels" / split / f"{seed:02}.png")
    (root / "classes.txt").write_text("\n".join(CLASS_NAMES))

# %% [markdown]
# What was understood of them, and what is suspicious:

# %%
# !{python} main.py data --config configs/folder.py --config.data.root="{DATA}" --output look

# %%
sheet = np.asarray(Image.open("look/train.png"))
plt.figure(figsize=(5, 7), layout="constrained")
plt.imshow(sheet[: int(1.4 * sheet.shape[1])])  # the first of them
plt.axis("off")
plt.show()

# %% [markdown]
# ## The training
#
# Short, for a CPU: 60 updates, of crops of 129 pixels. For your own images leave out the
# four options at the end: then it is 100 passes over them, with crops of 225. Stopped, the
# same command goes on from the last checkpoint. `runs/mine/report.html` shows how it went.

# %%
# !{python} main.py train --config configs/folder.py --workdir runs/mine --config.data.root="{DATA}" \
#     --config.num_epochs=none --config.num_steps=60 --config.data.crop_size="(129, 129)" \
#     --config.evaluation.times=5

# %% [markdown]
# ## The scores
#
# Of each image, the worst first, and of each class against each. (The drawn amber and
# azure discs differ in their true colour alone, and only the whole scene tells how it is
# lit. So short a training hardly tells them apart.)

# %%
# !{python} main.py evaluate --workdir runs/mine --output scores
with open("scores/images.csv") as file:
    for name, mean_iou, pixel_accuracy, *_ in csv.reader(file):
        print(f"{name:20} {mean_iou:10} {pixel_accuracy}")

# %%
plt.figure(figsize=(7, 6), layout="constrained")
plt.imshow(Image.open("scores/confusion.png"))
plt.axis("off")
plt.show()

# %% [markdown]
# Image, truth and prediction of the worst images. What is beige counts nowhere.

# %%
worst = sorted(Path("scores/worst").glob("*.png"))[:4]
figure, axes = plt.subplots(2, 2, figsize=(12, 6), layout="constrained")
for axis, path in zip(axes.flat, worst, strict=False):
    axis.imshow(Image.open(path))
    axis.set_title(path.stem)
for axis in axes.flat:
    axis.set_axis_off()
plt.show()

# %% [markdown]
# ## Masks of other images
#
# `predict` takes images and folders of any sizes. The index masks are in `out/mask`, the
# coloured ones in `out/color`, and those over their image in `out/overlay`.

# %%
IMAGES = f"{DATA}/images/val"  # or any other folder of pictures
# !{python} main.py predict --workdir runs/mine "{IMAGES}" --output out
overlays = sorted(Path("out/overlay").rglob("*.png"))[:4]
figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
for axis, path in zip(axes, overlays, strict=False):
    axis.imshow(Image.open(path))
    axis.set_title(path.stem)
for axis in axes:
    axis.set_axis_off()
plt.show()

# %% [markdown]
# ## One file to take away
#
# It holds the weights, the network, the classes with their colours, and the
# preprocessing. jax, flax and safetensors are all that its use needs:

# %%
# !{python} main.py convert runs/mine model.safetensors
predictor = Predictor.load("model.safetensors")
paths = sorted(Path(IMAGES).glob("*.*"))[:2]
images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
with tqdm(total=len(images), unit="image") as bar:
    predictions = predictor(images, progress=lambda done, total: bar.update())

# %%
figure, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained")
for row, image, prediction in zip(axes, images, predictions, strict=True):
    row[0].imshow(image)
    row[1].imshow(prediction.color)
    shown = row[2].imshow(prediction.confidence, vmin=0, vmax=1, cmap="gray")
for axis, title in zip(axes[0], ("image", "mask", "confidence"), strict=True):
    axis.set_title(title)
for axis in axes.flat:
    axis.set_axis_off()
classes = predictor.classes
legend = [
    Patch(color=color / 255, label=name)
    for color, name in zip(classes.palette, classes.names, strict=True)
]
figure.legend(handles=legend, loc="outside lower center", ncols=4)
figure.colorbar(shown, ax=axes, shrink=0.6)
plt.show()

# %% [markdown]
# To take it with you from Colab:
#
#     from google.colab import files
#     files.download("model.safetensors")
#
# [docs/data.md](https://github.com/OWNER/ema_jax/blob/main/docs/data.md#how-long-and-how-fast)
# says what decides how long a training takes and how well it does, and
# [A released PyTorch network](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/released_network.ipynb)
# looks inside of one.
