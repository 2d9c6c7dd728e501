# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # EM attention in ten minutes
#
# [![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/em_attention.ipynb)
#
# Attention rebuilds each pixel from others that look like it. Non-local attention compares
# every pixel with every other: N² comparisons. **EM attention** finds a few bases that
# stand for all pixels, by expectation-maximization, and rebuilds each pixel from these:
# N·K comparisons, and a result that is low-rank and clean
# ([Li et al., ICCV 2019](https://arxiv.org/abs/1907.13426)).
#
# Here: the iteration, watched on points and on a photograph; then the unit, `EMAU`, in a
# small network of Flax Linen, and in one of Flax NNX. A CPU is enough.

# %% [markdown]
# The next cell installs the library. It needs jax and flax alone, and leaves those that
# are there as they are. Where it is installed already, pass the cell over.

# %% tags=["install"]
# %pip install --quiet "ema-jax @ git+https://github.com/OWNER/ema_jax" matplotlib tqdm

# %%
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from matplotlib import cbook
from tqdm import tqdm

from ema_jax import EMAU, em_attention, em_trace
from ema_jax.em import expectation
from ema_jax.nnx import EMAU as NNXEMAU
from ema_jax.nnx import from_linen, to_linen

print(f"jax {jax.__version__} on {jax.default_backend()}")

# %% [markdown]
# ## The iteration
#
# There are N tokens $x_n$ and K bases $\mu_k$. The **E step** asks which basis is
# responsible for which token, the **M step** moves each basis to the mean of the tokens
# it is responsible for:
#
# $$z_{nk} = \frac{\exp s(x_n, \mu_k)}{\sum_j \exp s(x_n, \mu_j)} \qquad
# \mu_k = \frac{\sum_n z_{nk}\, x_n}{\sum_n z_{nk}}$$
#
# With $s(x, \mu) = -\frac{\lambda}{2}\|x - \mu\|^2$ this is EM for a mixture of Gaussians
# of variance 1/λ. Four clouds of points, four bases that all start in one corner:

# %%
rng = np.random.default_rng(0)
centres = np.array([[-2.0, -1.0], [2.0, -1.5], [0.0, 2.0], [2.5, 1.5]])
points = np.concatenate([rng.normal(centre, 0.6, (150, 2)) for centre in centres])
start = rng.normal([-2.5, -2.0], 0.5, (4, 2))
points, start = points.astype(np.float32), start.astype(np.float32)
mixture = {"temperature": 3.0, "kernel": "gaussian"}
trace = em_trace(points, start, num_iters=40, normalization="none", **mixture)
bases_at = [jnp.asarray(start), *trace.bases]  # after 0, 1, 2, … iterations

colours = plt.get_cmap("viridis")(np.linspace(0.05, 0.95, 4))[:, :3]
figure, axes = plt.subplots(1, 5, figsize=(14, 3.2), layout="constrained")
for axis, step in zip(axes, (0, 1, 3, 10, 40), strict=True):
    z = expectation(points, bases_at[step], **mixture)
    axis.scatter(*points.T, s=8, c=np.clip(z @ colours, 0, 1))
    axis.scatter(*bases_at[step].T, s=220, marker="*", c=colours, edgecolors="black")
    axis.set(title=f"{step} iterations", aspect="equal", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# A point has the mixed colours of the bases that are responsible for it. No iteration
# lowers the likelihood of the points, which is what EM promises. From a start as bad as
# this one it takes many; EMANet keeps a good start, and takes three.

# %%
likelihood = trace.log_likelihood / len(points)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
left.plot(range(1, 41), likelihood, ".-")
left.set(xlabel="iteration", ylabel="log-likelihood of a point")
right.semilogy(range(1, 41), trace.change, ".-")
right.set(xlabel="iteration", ylabel="movement of the bases ‖Δμ‖")
plt.show()
assert bool(jnp.all(jnp.diff(likelihood) > -1e-4))

# %% [markdown]
# ## Attention
#
# With $s(x, \mu) = \lambda\, x^\top \mu$ and bases of length one, the E step is a softmax,
# as in any attention, and the last step **rebuilds** every token from the bases:
#
# $$Z = \operatorname{softmax}_k(\lambda\, X \mu^\top) \qquad
# \tilde X = Z \mu$$
#
# `em_attention` does it all. A token is a pixel's colour here, with a one beside it, as a
# vector of length one; in a network it is a pixel's features. EM starts from pixels of
# evenly spaced brightness.

# %%
with cbook.get_sample_data("grace_hopper.jpg") as file:
    photo = plt.imread(file)[::4, ::4]
colour = photo.reshape(-1, 3) / 255 - 0.5
tokens = np.c_[2 * colour, np.ones(len(colour))]
tokens = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
tokens = tokens.astype(np.float32)
brightness = colour.sum(1)


def attention(num_bases, num_iters):
    levels = np.linspace(brightness.min(), brightness.max(), num_bases)
    start = tokens[np.abs(brightness[:, None] - levels).argmin(0)]
    return em_attention(tokens, start, num_iters=num_iters, temperature=100.0)


counts = (2, 4, 8, 16)
figure, axes = plt.subplots(1, 1 + len(counts), figsize=(13, 3.6), layout="constrained")
axes[0].imshow(photo)
axes[0].set_title(f"N = {len(tokens)} pixels")
for axis, count in zip(axes[1:], counts, strict=True):
    rebuilt = attention(count, num_iters=10).features
    rebuilt = 0.5 + rebuilt[:, :3] / rebuilt[:, 3:] / 2  # from the vector to the colour
    axis.imshow(np.clip(rebuilt, 0, 1).reshape(photo.shape))
    axis.set_title(f"K = {count}: {count / len(tokens):.2%} of N²")
for axis in axes:
    axis.set_axis_off()
plt.show()

# %% [markdown]
# The percentage is the number of comparisons, N·K, beside the N² of non-local attention.
#
# Each basis has a map of what it is responsible for. Two that end at the same colour, as
# the first two here, share its pixels.

# %%
steps = (1, 2, 3, 10)
figure, axes = plt.subplots(len(steps), 6, figsize=(10, 8), layout="constrained")
for row, step in zip(axes, steps, strict=True):
    z = attention(6, num_iters=step).responsibilities
    for k, axis in enumerate(row):
        map_of_basis = z[:, k].reshape(photo.shape[:2])
        image = axis.imshow(map_of_basis, vmin=0, vmax=1, cmap="cividis")
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"{step} iteration{'s' * (step > 1)}")
for k, axis in enumerate(axes[0], start=1):
    axis.set_title(f"basis {k}")
figure.colorbar(image, ax=axes, label="responsibility", shrink=0.4)
plt.show()

# %% [markdown]
# ## EMAU in a small network: Linen
#
# The unit puts EM attention between two 1×1 convolutions and adds a residual. It keeps
# the bases from which EM starts, $\mu^0$, as batch normalisation keeps its mean: they lie
# in `batch_stats`, and a training step updates them.
#
# A task that no pixel can solve alone: every picture has three colours of its own, and
# noise over them. Whoever knows all pixels can take the mean of those that belong
# together. The layers of this network see a pixel at a time; the unit is the only place
# where pixels learn of each other. It works as the mixture of Gaussians above.


# %%
def pictures(rng, count, side=24):
    """Noisy pictures, and clean ones: each pixel has the colour of its nearest seed."""
    places = rng.uniform(0, side, (count, 9, 2))
    palette = rng.uniform(-1, 1, (count, 3, 3))
    grid = np.stack(np.mgrid[:side, :side], -1)[None, :, :, None]
    nearest = np.square(grid - places[:, None, None]).sum(-1).argmin(-1) % 3
    clean = np.take_along_axis(palette, nearest.reshape(count, -1, 1), 1)
    clean = clean.reshape(count, side, side, 3)
    noisy = clean + rng.normal(0, 0.3, clean.shape)
    return noisy.astype(np.float32), clean.astype(np.float32)


OPTIONS = {
    "num_bases": 4,
    "num_iters": 6,
    "kernel": "gaussian",
    "normalization": "none",
    "gradient": "unroll",
    "bn_decay": 0.9,
}


class Net(nn.Module):
    unit: nn.Module | None

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.relu(nn.Dense(32)(x))
        if self.unit is not None:
            x = self.unit(x, train=train)
        return nn.Dense(3)(x)


# %%
STEPS = 300
optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, STEPS))


def train(net, rng):
    """Variables after training, and the loss of each step."""
    noisy, _ = pictures(rng, 1)
    variables = net.init(jax.random.key(0), noisy, train=False)
    state = optimizer.init(variables["params"])

    def loss(params, rest, noisy, clean):
        found, rest = net.apply(
            {"params": params, **rest}, noisy, train=True, mutable=["batch_stats"]
        )
        return jnp.mean(jnp.square(found - clean)), rest

    @jax.jit
    def step(variables, state, noisy, clean):
        rest = {"batch_stats": variables.get("batch_stats", {})}
        value_and_grad = jax.value_and_grad(loss, has_aux=True)
        (value, rest), grads = value_and_grad(variables["params"], rest, noisy, clean)
        updates, state = optimizer.update(grads, state)
        params = optax.apply_updates(variables["params"], updates)
        return {"params": params, **rest}, state, value

    losses = []
    bar = tqdm(range(STEPS))
    for _ in bar:
        variables, state, value = step(variables, state, *pictures(rng, 8))
        losses.append(float(value))
        bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
    return variables, losses


nets = {
    "each pixel alone": Net(unit=None),
    "with EMAU": Net(unit=EMAU(**OPTIONS)),
}
trained = {name: train(net, np.random.default_rng(0)) for name, net in nets.items()}

# %%
noisy, clean = pictures(np.random.default_rng(1), 64)
figure, axes = plt.subplots(3, 4, figsize=(10, 7.4), layout="constrained")
found = {"noisy": noisy}
for name, net in nets.items():
    found[name] = np.asarray(net.apply(trained[name][0], noisy, train=False))
found["clean"] = clean
for column, (name, images) in zip(axes.T, found.items(), strict=True):
    error = np.mean(np.square(images - clean))
    column[0].set_title(f"{name}\nmean squared error {error:.4f}")
    for axis, image in zip(column, images, strict=False):
        axis.imshow(np.clip(0.5 + image / 2, 0, 1))
        axis.set_axis_off()
plt.show()

# %% [markdown]
# Where `intermediates` is mutable, the unit leaves there what it did: the responsibilities
# of the trained unit for the first picture.

# %%
net, (variables, _) = nets["with EMAU"], trained["with EMAU"]
_, seen = net.apply(variables, noisy[:1], train=False, mutable=["intermediates"])
[z] = seen["intermediates"]["unit"]["responsibilities"]
maps = np.asarray(z[0]).T.reshape(-1, *noisy.shape[1:3])
figure, axes = plt.subplots(1, 1 + len(maps), figsize=(10, 2.3), layout="constrained")
axes[0].imshow(np.clip(0.5 + clean[0] / 2, 0, 1))
axes[0].set_title("clean")
for k, (axis, image) in enumerate(zip(axes[1:], maps, strict=True), start=1):
    axis.imshow(image, vmin=0, vmax=1, cmap="cividis")
    axis.set_title(f"basis {k}")
for axis in axes:
    axis.set_axis_off()
plt.show()

# %% [markdown]
# ## EMAU in a small network: NNX
#
# The same unit with the same options as an `nnx.Module`. `model.train()` and
# `model.eval()` say whether a call updates $\mu^0$.

# %%
rngs = nnx.Rngs(0)
model = nnx.Sequential(
    nnx.Linear(3, 32, rngs=rngs),
    nnx.relu,
    NNXEMAU(32, **OPTIONS, rngs=rngs),
    nnx.Linear(32, 3, rngs=rngs),
)
model_optimizer = nnx.Optimizer(model, optimizer, wrt=nnx.Param)


@nnx.jit
def step(model, model_optimizer, noisy, clean):
    value_and_grad = nnx.value_and_grad(lambda m: jnp.mean((m(noisy) - clean) ** 2))
    value, grads = value_and_grad(model)
    model_optimizer.update(model, grads)
    return value


model.train()
rng = np.random.default_rng(0)
bar = tqdm(range(STEPS))
for _ in bar:
    value = step(model, model_optimizer, *pictures(rng, 8))
    bar.set_postfix(loss=f"{float(value):.4f}", refresh=False)

model.eval()
error = jnp.mean(jnp.square(model(noisy) - clean))
print(f"mean squared error {error:.4f} on new pictures")

# %% [markdown]
# Weights go from one to the other, and give the same:

# %%
unit = model.layers[2]
x = jax.random.normal(jax.random.key(0), (2, 9, 9, 32))
linen = EMAU(**OPTIONS)
same = linen.apply(to_linen(unit), x, train=False)
print("NNX to Linen, largest difference:", float(jnp.abs(unit(x) - same).max()))

from_linen(unit, linen.init(jax.random.key(1), x, train=False))
print("and back: μ⁰ has the shape", unit.bases[...].shape)

# %% [markdown]
# ## From here
#
# - [What each option does](https://github.com/OWNER/ema_jax/blob/main/docs/em_attention.md):
#   gradients through EM, heads, temperature, masks, video, many devices.
# - [Your own images](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/your_images.ipynb):
#   twenty of them, a few minutes, and a network that segments.
# - [A released PyTorch network](https://colab.research.google.com/github/OWNER/ema_jax/blob/main/colab/released_network.ipynb):
#   from a `.pth` to masks, and inside.
