"""FCN and the heads of DeepLabV3, DeepLabV3+ and PSANet in PyTorch, from the papers.

As peer.py, a second implementation to compare with: plain modules, no speed.
"""

import torch
from torch import nn
from torch.nn import functional as F

BN = {"eps": 1e-5, "momentum": 3e-4}


class ConvBNReLU(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs,
            outputs,
            kernel,
            padding=dilation if kernel == 3 else 0,
            dilation=dilation,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(outputs, **BN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


class ASPP(nn.Module):
    """Four convolutions and the mean of the image, side by side."""

    def __init__(
        self, inputs: int, channels: int, rates: tuple[int, ...], pooling: bool
    ):
        super().__init__()
        self.conv1 = ConvBNReLU(inputs, channels)
        self.conv2, self.conv3, self.conv4 = (
            ConvBNReLU(inputs, channels, 3, rate) for rate in rates
        )
        self.pool = ConvBNReLU(inputs, channels) if pooling else None
        branches = 5 if pooling else 4
        self.project = ConvBNReLU(branches * channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [conv(x) for conv in (self.conv1, self.conv2, self.conv3, self.conv4)]
        if self.pool is not None:
            pooled = self.pool(F.adaptive_avg_pool2d(x, 1))
            parts.append(upsample(pooled, x.shape[-2:]))
        return self.project(torch.cat(parts, dim=1))


class FCNHead(nn.Module):
    def __init__(self, inputs: int, hidden: int, num_classes: int):
        super().__init__()
        self.conv1 = ConvBNReLU(inputs, hidden, 3)
        self.classifier = nn.Conv2d(hidden, num_classes, 1)

    def forward(self, low: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        del low
        return self.classifier(self.conv1(x))


class DeepLabV3Head(nn.Module):
    def __init__(
        self,
        inputs: int,
        channels: int,
        rates: tuple[int, ...],
        num_classes: int,
        image_pooling: bool = True,
    ):
        super().__init__()
        self.aspp = ASPP(inputs, channels, rates, image_pooling)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, low: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.aspp(x))


class DeepLabV3PlusHead(nn.Module):
    def __init__(
        self,
        low_inputs: int,
        inputs: int,
        channels: int,
        low_level_channels: int,
        rates: tuple[int, ...],
        num_classes: int,
        image_pooling: bool = True,
    ):
        super().__init__()
        self.aspp = ASPP(inputs, channels, rates, image_pooling)
        self.low_level = ConvBNReLU(low_inputs, low_level_channels)
        self.refine1 = ConvBNReLU(low_level_channels + channels, channels, 3)
        self.refine2 = ConvBNReLU(channels, channels, 3)
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, low: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        large = upsample(self.aspp(x), low.shape[-2:])
        y = torch.cat([self.low_level(low), large], dim=1)
        return self.classifier(self.refine2(self.refine1(y)))


class PSAHead(nn.Module):
    """Point-wise spatial attention, one pair of pixels after the other."""

    def __init__(
        self,
        inputs: int,
        channels: int,
        hidden_channels: int,
        map_size: int,
        num_classes: int,
    ):
        super().__init__()
        self.map_size = map_size
        self.collect_reduce = ConvBNReLU(inputs, channels)
        self.collect_attend = ConvBNReLU(channels, channels)
        self.collect_map = nn.Conv2d(channels, map_size**2, 1, bias=False)
        self.distribute_reduce = ConvBNReLU(inputs, channels)
        self.distribute_attend = ConvBNReLU(channels, channels)
        self.distribute_map = nn.Conv2d(channels, map_size**2, 1, bias=False)
        self.project = ConvBNReLU(2 * channels, inputs)
        self.fuse = ConvBNReLU(2 * inputs, hidden_channels, 3)
        self.classifier = nn.Conv2d(hidden_channels, num_classes, 1)

    def forward(self, low: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        small = (x.shape[-2] + 1) // 2, (x.shape[-1] + 1) // 2
        collect = upsample(self.collect_reduce(x), small)
        collect_map = self.collect_map(self.collect_attend(collect))
        distribute = upsample(self.distribute_reduce(x), small)
        distribute_map = self.distribute_map(self.distribute_attend(distribute))
        collected = self.collect(collect, collect_map)
        distributed = self.distribute(distribute, distribute_map)
        z = torch.cat([collected, distributed], dim=1)
        z = upsample(self.project(z), x.shape[-2:])
        return self.classifier(self.fuse(torch.cat([x, z], dim=1)))

    def collect(self, x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Pixel i weighs the sources j as its own map says."""

        def logit(target: tuple[int, int], source: tuple[int, int]) -> torch.Tensor:
            return self.entry(maps, at=target, of=source)

        return attend(x, logit)

    def distribute(self, x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """Pixel i weighs the sources j as the map of each of them says."""

        def logit(target: tuple[int, int], source: tuple[int, int]) -> torch.Tensor:
            return self.entry(maps, at=source, of=target)

        return attend(x, logit)

    def entry(
        self, maps: torch.Tensor, at: tuple[int, int], of: tuple[int, int]
    ) -> torch.Tensor:
        """What the map at one pixel says of another, for the batch: [B]."""
        size, middle = self.map_size, self.map_size // 2
        row, column = of[0] - at[0] + middle, of[1] - at[1] + middle
        if not (0 <= row < size and 0 <= column < size):
            return torch.full_like(maps[:, 0, 0, 0], -torch.inf)
        return maps[:, row * size + column, at[0], at[1]]


def attend(x: torch.Tensor, logit) -> torch.Tensor:
    """Softmax over the sources of every target."""
    _, _, height, width = x.shape
    pixels = [(row, column) for row in range(height) for column in range(width)]
    columns = []
    for target in pixels:
        logits = torch.stack([logit(target, source) for source in pixels], dim=1)
        weights = torch.softmax(logits, dim=1)
        columns.append(torch.einsum("bn,bcn->bc", weights, x.flatten(2)))
    return torch.stack(columns, dim=2).reshape(x.shape)


def upsample(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bilinear, corner pixels coincide."""
    return F.interpolate(x, size, mode="bilinear", align_corners=True)
