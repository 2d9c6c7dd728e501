"""The context modules in PyTorch, written from their papers.

A second implementation to compare with: plain modules in the papers' own layout, no
speed, any dtype. Each has `attend`, one image batch to what its last convolution reads,
and `close`, which adds the residual; between the two, images of several sizes can share
one BatchNorm. All maps are [B, C, H, W].
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.golden.context_cases import BN_MOMENTUM, CHANNELS


def last(inputs: int) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("conv", nn.Conv2d(inputs, CHANNELS, 1, bias=False))
    layers.add_module("bn", nn.BatchNorm2d(CHANNELS, eps=1e-5, momentum=BN_MOMENTUM))
    return layers


class Context(nn.Module):
    """A module whose end is `y = x + last(attend(x))`, with a ReLU where asked."""

    last_name = "out"
    relu = False

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    def close(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + y) if self.relu else x + y

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ragged([x])[0]

    def ragged(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        """Every image by itself, all pixels through one BatchNorm."""
        maps = [self.attend(x) for x in images]
        columns = [y.transpose(0, 1).flatten(1) for y in maps]  # [C, pixels]
        together = torch.cat(columns, dim=1)[None, :, :, None]
        together = getattr(self, self.last_name)(together)[0, :, :, 0]
        pieces = together.split([y.shape[1] for y in columns], dim=1)
        return [
            self.close(x, y.unflatten(1, (len(x), *x.shape[2:])).transpose(0, 1))
            for x, y in zip(images, pieces, strict=True)
        ]


class NonLocal(Context):
    """Wang et al. 2018: y_i = 1/C(x) Σ_j f(x_i, x_j) g(x_j), z_i = W y_i + x_i."""

    def __init__(self, mode: str = "embedded_gaussian", scale: float = 1.0):
        super().__init__()
        self.mode, self.scale = mode, scale
        width = CHANNELS // 2
        self.query = nn.Conv2d(CHANNELS, width, 1)
        self.key = nn.Conv2d(CHANNELS, width, 1)
        self.value = nn.Conv2d(CHANNELS, width, 1)
        self.out = last(width)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        theta, phi, g = (f(x).flatten(2) for f in (self.query, self.key, self.value))
        f = self.scale * (theta.transpose(1, 2) @ phi)  # [B, N, N]
        if self.mode == "dot_product":
            f = f / f.shape[-1]
        else:
            f = torch.exp(f) / torch.exp(f).sum(dim=2, keepdim=True)
        return (f @ g.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class DoubleAttention(Context):
    """Chen et al. 2018: Z = [A softmax(B)ᵀ] softmax(V), all [channels, pixels]."""

    def __init__(self, channels: int, num_maps: int):
        super().__init__()
        self.features = nn.Conv2d(CHANNELS, channels, 1)
        self.maps = nn.Conv2d(CHANNELS, num_maps, 1)
        self.vectors = nn.Conv2d(CHANNELS, num_maps, 1)
        self.out = last(channels)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        a = self.features(x).flatten(2)
        b = self.maps(x).flatten(2).softmax(dim=2)  # over the pixels
        v = self.vectors(x).flatten(2).softmax(dim=1)  # over the maps
        descriptors = [a[i] @ b[i].T for i in range(len(x))]
        z = torch.stack([g @ w for g, w in zip(descriptors, v, strict=True)])
        return z.unflatten(2, x.shape[2:])


class ExternalAttention(Context):
    """Guo et al. 2021: double normalisation, first over the pixels, then the slots."""

    relu = True

    def __init__(self, num_slots: int):
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.memory_keys = nn.Parameter(torch.empty(num_slots, CHANNELS))
        self.memory_values = nn.Parameter(torch.empty(num_slots, CHANNELS))
        self.out = last(CHANNELS)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        f = self.conv(x).flatten(2)
        attention = (self.memory_keys @ f).softmax(dim=2)  # [B, S, N]
        attention = attention / (1e-9 + attention.sum(dim=1, keepdim=True))
        return (self.memory_values.T @ attention).unflatten(2, x.shape[2:])


class CrissCrossAttention(nn.Module):
    """Huang et al. 2019, as dense attention with a list of who sees whom."""

    def __init__(self, channels: int, recurrence: int = 2):
        super().__init__()
        self.recurrence = recurrence
        self.query = nn.Conv2d(CHANNELS, channels, 1)
        self.key = nn.Conv2d(CHANNELS, channels, 1)
        self.value = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.gamma = nn.Parameter(torch.empty(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixels = torch.cartesian_prod(*(torch.arange(n) for n in x.shape[2:]))
        crossing = (pixels[:, None] == pixels[None]).any(dim=2)  # same row or column
        for _ in range(self.recurrence):
            q, k, v = (f(x).flatten(2) for f in (self.query, self.key, self.value))
            energy = torch.einsum("bcn,bcm->bnm", q, k)
            weights = energy.masked_fill(~crossing, -torch.inf).softmax(dim=2)
            y = torch.einsum("bnm,bcm->bcn", weights, v).unflatten(2, x.shape[2:])
            x = self.gamma * y + x
        return x

    def ragged(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self(x) for x in images]


class Hamburger(Context):
    """Geng et al. 2021, X ≈ D C with X [D, N], by multiplicative updates."""

    last_name = "upper"
    relu = True

    def __init__(
        self,
        channels: int,
        num_bases: int,
        num_iters: int = 6,
        eval_iters: int = 7,
        temperature: float = 1.0,
        bases_update: str = "none",
        bases_decay: float = 1.0,
    ):
        super().__init__()
        self.steps = {True: num_iters, False: eval_iters}
        self.temperature = temperature
        self.decay = bases_decay if bases_update == "moving_average" else 1.0
        self.lower = nn.Conv2d(CHANNELS, channels, 1)
        self.upper = last(channels)
        self.register_buffer("bases", torch.empty(1, channels, num_bases))
        self.found: list[torch.Tensor] = []  # bases of each image of the last call

    def ragged(self, images: list[torch.Tensor]) -> list[torch.Tensor]:
        self.found = []
        outputs = super().ragged(images)
        if self.training:
            with torch.no_grad():
                mean = torch.stack([F.normalize(d, dim=0) for d in self.found]).mean(0)
                moved = self.decay * self.bases + (1 - self.decay) * mean
                self.bases.copy_(F.normalize(moved, dim=1))
        return outputs

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.lower(x)).flatten(2)
        return torch.stack([self.ham(image) for image in maps]).unflatten(
            2, x.shape[2:]
        )

    def ham(self, x: torch.Tensor) -> torch.Tensor:
        eps = 1e-6
        d = self.bases[0]
        with torch.no_grad():
            c = (self.temperature * (x.T @ d)).softmax(dim=1).T  # [K, N]
            for _ in range(self.steps[self.training]):
                c = c * (d.T @ x) / (d.T @ d @ c + eps)
                d = d * (x @ c.T) / (d @ (c @ c.T) + eps)
        self.found.append(d)
        c = c * (d.T @ x) / (d.T @ d @ c + eps)
        return d @ c


KINDS = {
    "non_local": NonLocal,
    "double_attention": DoubleAttention,
    "external_attention": ExternalAttention,
    "criss_cross": CrissCrossAttention,
    "hamburger": Hamburger,
}
