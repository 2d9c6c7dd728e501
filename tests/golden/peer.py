"""EMANet in PyTorch, written from the paper and from the facts of the release.

A second implementation to compare with, made without looking at the first: plain
modules, no speed, any dtype. The names of the weights are those of the released files.
"""

import torch
from torch import nn
from torch.nn import functional as F

BN = {"eps": 1e-5, "momentum": 3e-4}
STEM_CHANNELS = {"deep128": (64, 64, 128), "deep64": (32, 32, 64)}
EXPANSION = 4
IGNORE_LABEL = 255


def em_attention(
    x: torch.Tensor, mu: torch.Tensor, num_iters: int, eps: float = 1e-6
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """EM on tokens x [B, N, C] from bases mu [B or 1, K, C].

    Returns the re-estimated tokens, the last bases [B, K, C], and the responsibilities
    [B, N, K] of the last E step, which come from the bases before the last.
    """
    for _ in range(num_iters):
        z = torch.softmax(torch.einsum("bnc,bkc->bnk", x, mu.expand(len(x), -1, -1)), 2)
        weighted_sum = torch.einsum("bnk,bnc->bkc", z, x)
        mu = weighted_sum / (eps + z.sum(dim=1).unsqueeze(2))
        mu = mu / (eps + torch.linalg.vector_norm(mu, dim=2, keepdim=True))
    return torch.einsum("bnk,bkc->bnc", z, mu), mu, z


class EMAU(nn.Module):
    """Expectation-maximisation attention unit; nothing is differentiated through EM."""

    def __init__(
        self,
        channels: int,
        num_bases: int = 64,
        num_iters: int = 3,
        decay: float = 0.9,
    ):
        super().__init__()
        self.num_iters = num_iters
        self.decay = decay
        self.responsibilities: torch.Tensor | None = None  # of the last call
        mu = torch.randn(1, channels, num_bases) * (2.0 / num_bases) ** 0.5
        self.register_buffer("mu", F.normalize(mu, dim=1))
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.conv2 = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels, **BN),
        )

    @torch.no_grad()
    def _reestimate(self, x: torch.Tensor) -> torch.Tensor:
        """Feature map -> its re-estimation; moves the stored bases in training."""
        batch, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        features, mu, z = em_attention(tokens, self.mu.transpose(1, 2), self.num_iters)
        self.responsibilities = z
        if self.training:
            batch_mean = mu.mean(dim=0, keepdim=True).transpose(1, 2)
            self.mu.copy_(self.decay * self.mu + (1.0 - self.decay) * batch_mean)
        return features.transpose(1, 2).reshape(batch, channels, height, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self._reestimate(self.conv1(x)))
        return torch.relu(self.conv2(y) + x)


class Bottleneck(nn.Module):
    """1×1, 3×3 (strided, dilated), 1×1, with a projection where shapes differ."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int):
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, **BN)
        self.conv2 = nn.Conv2d(
            width, width, 3, stride, dilation, dilation=dilation, bias=False
        )
        self.bn2 = nn.BatchNorm2d(width, **BN)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, **BN)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs, **BN),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def stage_strides_and_dilations(output_stride: int) -> list[tuple[int, int]]:
    """(stride, dilation) of the four stages; the stem has already divided by 4."""
    return {
        8: [(1, 1), (2, 1), (1, 2), (1, 4)],
        16: [(1, 1), (2, 1), (2, 1), (1, 2)],
        32: [(1, 1), (2, 1), (2, 1), (2, 1)],
    }[output_stride]


def block_dilations(
    size: int, dilation: int, multi_grid: tuple[int, ...] | None
) -> list[int]:
    """The first block takes half; multi-grid multiplies the second and the third."""
    dilations = [max(1, dilation // 2)] + [dilation] * (size - 1)
    if multi_grid is not None:
        for block in range(1, min(size, len(multi_grid))):
            dilations[block] *= multi_grid[block]
    return dilations


def make_stem(stem: str) -> tuple[nn.Module, int]:
    """The convolutions before the last BatchNorm of the stem, and their channels."""
    if stem == "conv7":
        return nn.Conv2d(3, 64, 7, 2, 3, bias=False), 64
    first, second, third = STEM_CHANNELS[stem]
    layers = nn.Sequential(
        nn.Conv2d(3, first, 3, 2, 1, bias=False),
        nn.BatchNorm2d(first, **BN),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, 1, 1, bias=False),
        nn.BatchNorm2d(second, **BN),
        nn.ReLU(),
        nn.Conv2d(second, third, 3, 1, 1, bias=False),
    )
    return layers, third


class Backbone(nn.Sequential):
    """Dilated ResNet: 0 stem, 1 BatchNorm, 2 ReLU, 3 max-pool, 4 to 7 the stages."""

    def __init__(
        self,
        stage_sizes: tuple[int, ...],
        stem: str = "deep128",
        output_stride: int = 8,
        base_width: int = 64,
        multi_grid: tuple[int, ...] | None = (1, 2, 4),
    ):
        layers, channels = make_stem(stem)
        super().__init__(
            layers,
            nn.BatchNorm2d(channels, **BN),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        geometry = stage_strides_and_dilations(output_stride)
        for stage, (stride, dilation) in enumerate(geometry):
            width = base_width * 2**stage
            grid = multi_grid if stage == 3 else None
            blocks = nn.Sequential()
            for dil in block_dilations(stage_sizes[stage], dilation, grid):
                first = len(blocks) == 0
                blocks.append(Bottleneck(channels, width, stride if first else 1, dil))
                channels = EXPANSION * width
            self.append(blocks)
        self.channels = channels

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The outputs of the four stages."""
        outputs = []
        for layer in self:
            x = layer(x)
            outputs.append(x)
        return outputs[4:]


class ConvBNReLU(nn.Module):
    """3×3 convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(outputs, **BN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


class EMANet(nn.Module):
    """Dilated ResNet, EMA unit, classifier, bilinear upsampling to the input size."""

    def __init__(
        self,
        stage_sizes: tuple[int, ...],
        stem: str = "deep128",
        output_stride: int = 8,
        base_width: int = 64,
        multi_grid: tuple[int, ...] | None = (1, 2, 4),
        channels: int = 512,
        num_bases: int = 64,
        num_iters: int = 3,
        num_classes: int = 21,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.extractor = Backbone(
            stage_sizes, stem, output_stride, base_width, multi_grid
        )
        self.fc0 = ConvBNReLU(self.extractor.channels, channels)
        self.emau = EMAU(channels, num_bases, num_iters)
        self.fc1 = nn.Sequential(ConvBNReLU(channels, 256), nn.Dropout2d(dropout))
        self.fc2 = nn.Conv2d(256, num_classes, 1)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Logits at the output stride."""
        return self.fc2(self.fc1(self.emau(self.fc0(self.extractor(x)))))

    def upsample(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Bilinear, corner pixels coincide."""
        return F.interpolate(logits, size, mode="bilinear", align_corners=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.upsample(self.logits(x), x.shape[-2:])


def segmentation_loss(
    logits: torch.Tensor, labels: torch.Tensor, normalization: str
) -> torch.Tensor:
    """Cross-entropy over [B, classes, H, W].

    `all_pixels`: mean over the pixels of an image, ignored ones counting 0, then over
    the images. `valid_pixels`: mean over the valid pixels of the batch, 0 if none.
    """
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL, reduction="none")
    if normalization == "all_pixels":
        return loss.mean(dim=(1, 2)).mean()
    return loss.sum() / (labels != IGNORE_LABEL).sum().clamp(min=1)


def learning_rate(
    step: int, total: int, base: float = 0.009, power: float = 0.9, hold: int = 10
) -> float:
    """Poly schedule for step = 1, 2, …; a new value only at multiples of `hold`."""
    return base * (1.0 - (step - step % hold) / total) ** power


def make_optimizer(
    model: nn.Module, momentum: float = 0.9, weight_decay: float = 1e-4
) -> torch.optim.SGD:
    """SGD over three groups: convolution weights, BatchNorm scales, all biases.

    A group's `lr_factor` multiplies the scheduled rate. Only the first one decays.
    """
    weights, scales, biases = [], [], []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if name == "bias":
                biases.append(parameter)
            elif isinstance(module, nn.BatchNorm2d):
                scales.append(parameter)
            else:
                weights.append(parameter)
    groups = [
        {"params": weights, "lr_factor": 1.0, "weight_decay": weight_decay},
        {"params": scales, "lr_factor": 1.0, "weight_decay": 0.0},
        {"params": biases, "lr_factor": 2.0, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=momentum)


def train_step(
    model: EMANet,
    optimizer: torch.optim.SGD,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    lr: float,
    normalization: str,
) -> float:
    """One update; returns the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]
    optimizer.zero_grad(set_to_none=True)
    loss = segmentation_loss(model(images), labels, normalization)
    loss.backward()
    optimizer.step()
    return loss.item()
