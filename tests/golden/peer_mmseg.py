"""OpenMMLab's EMANet in PyTorch, written from the facts of its files and its paper.

As peer.py, a second implementation to compare with; it takes the backbone from there.
The names of the weights are those of OpenMMLab's files.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tests.golden import peer

BN = {"eps": 1e-5, "momentum": 0.1}


class ConvModule(nn.Module):
    """Convolution, and BatchNorm and ReLU where asked for."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, bn: bool = True, relu: bool = True
    ):
        super().__init__()
        self.relu = relu
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not bn)
        if bn:
            self.bn = nn.BatchNorm2d(outputs, **BN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = self.bn(x) if hasattr(self, "bn") else x
        return torch.relu(x) if self.relu else x


class Bases(nn.Module):
    """EM without ε: weights normalised over the pixels, bases to unit length."""

    def __init__(self, channels: int, num_bases: int, num_iters: int, decay: float):
        super().__init__()
        self.num_iters, self.decay = num_iters, decay
        bases = torch.randn(1, channels, num_bases)
        self.register_buffer("bases", F.normalize(bases, dim=1))

    @torch.no_grad()
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.flatten(2)  # [B, C, N]
        mu = self.bases.expand(len(x), -1, -1)
        for _ in range(self.num_iters):
            z = torch.softmax(tokens.transpose(1, 2) @ mu, dim=2)  # [B, N, K]
            mu = F.normalize(tokens @ (z / z.sum(dim=1, keepdim=True)), dim=1)
        if self.training:
            mean = F.normalize(mu.mean(dim=0, keepdim=True), dim=1)
            self.bases.copy_(self.decay * self.bases + (1 - self.decay) * mean)
        return (mu @ z.transpose(1, 2)).reshape(x.shape)


class EMAHead(nn.Module):
    """The decode head, with the features of the backbone beside its own at the end."""

    def __init__(
        self,
        inputs: int,
        num_classes: int,
        ema_channels: int = 512,
        channels: int = 256,
        num_bases: int = 64,
        num_iters: int = 3,
        decay: float = 0.9,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.ema_in_conv = ConvModule(inputs, ema_channels, 3)
        self.ema_mid_conv = ConvModule(ema_channels, ema_channels, 1, False, False)
        self.ema_module = Bases(ema_channels, num_bases, num_iters, decay)
        self.ema_out_conv = ConvModule(ema_channels, ema_channels, 1, relu=False)
        self.bottleneck = ConvModule(ema_channels, channels, 3)
        self.conv_cat = ConvModule(inputs + channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.ema_in_conv(x)
        attended = torch.relu(self.ema_module(self.ema_mid_conv(y)))
        y = self.bottleneck(torch.relu(y + self.ema_out_conv(attended)))
        y = self.conv_cat(torch.cat([x, y], dim=1))
        return self.conv_seg(self.dropout(y))


class FCNHead(nn.Module):
    """The auxiliary head."""

    def __init__(
        self, inputs: int, num_classes: int, channels: int = 256, dropout: float = 0.1
    ):
        super().__init__()
        self.convs = nn.Sequential(ConvModule(inputs, channels, 3))
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = nn.Conv2d(channels, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv_seg(self.dropout(self.convs(x)))


class Backbone(nn.Module):
    """The peer's backbone without multi-grid, under OpenMMLab's names."""

    def __init__(self, stage_sizes: tuple[int, ...], output_stride: int, width: int):
        super().__init__()
        backbone = peer.Backbone(stage_sizes, "deep64", output_stride, width, None)
        convolutions, bn, relu, self.pool, *stages = backbone
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BN["momentum"]
        self.stem = nn.Sequential(*convolutions, bn, relu)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = backbone.channels

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The outputs of stages 3 and 4."""
        third = self.layer3(self.layer2(self.layer1(self.pool(self.stem(x)))))
        return third, self.layer4(third)


class EMANet(nn.Module):
    """Logits and auxiliary logits; pixel centres at half-integers."""

    def __init__(
        self,
        stage_sizes: tuple[int, ...],
        output_stride: int = 8,
        width: int = 64,
        num_classes: int = 19,
        **head: float,
    ):
        super().__init__()
        self.backbone = Backbone(stage_sizes, output_stride, width)
        channels = self.backbone.channels
        self.decode_head = EMAHead(channels, num_classes, **head)
        dropout = head.get("dropout", 0.1)
        hidden = head.get("channels", 256)
        self.auxiliary_head = FCNHead(channels // 2, num_classes, hidden, dropout)

    def logits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both at the output stride."""
        third, fourth = self.backbone(x)
        return self.decode_head(fourth), self.auxiliary_head(third)

    def upsample(self, logits: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)
