"""EfficientNet-Lite0 in PyTorch, written from the published facts, with its classifier.

Padding is TensorFlow's "SAME". The names of the weights are those of the ported file.
"""

import torch
from torch import nn
from torch.nn import functional as F

BN = {"eps": 1e-3, "momentum": 0.01}

BLOCKS = (
    *[(3, 1, 16)],  # kernel, expansion, channels
    *2 * [(3, 6, 24)],
    *2 * [(5, 6, 40)],
    *3 * [(3, 6, 80)],
    *3 * [(5, 6, 112)],
    *4 * [(5, 6, 192)],
    *[(3, 6, 320)],
)
STRIDES = {0: 1, 1: 2, 3: 2, 5: 2, 11: 2}  # of the first blocks; 1 of all others
DILATIONS = {
    32: 16 * [1],
    16: [*12 * [1], 2, 2, 2, 2],
    8: [*6 * [1], 2, 2, 2, 2, 2, 2, 4, 4, 4, 4],
}
STAGE_ENDS = (2, 4, 10, 15)


class SameConv(nn.Conv2d):
    """Padded as TensorFlow does, more behind than before where the sum is odd."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padding = []
        for side, axis in ((x.shape[3], 1), (x.shape[2], 0)):
            kernel = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            outputs = -(-side // self.stride[axis])
            total = max(0, (outputs - 1) * self.stride[axis] + kernel - side)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(x, padding))


class Block(nn.Module):
    """Expansion, depthwise convolution, projection, and a residual where it fits."""

    def __init__(self, inputs, kernel, expansion, outputs, stride, dilation, skips):
        super().__init__()
        width = inputs * expansion
        if expansion > 1:
            self._expand_conv = SameConv(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, **BN)
        self._depthwise_conv = SameConv(
            width, width, kernel, stride, dilation=dilation, groups=width, bias=False
        )
        self._bn1 = nn.BatchNorm2d(width, **BN)
        self._project_conv = SameConv(width, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, **BN)
        self.skips = skips

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        if hasattr(self, "_expand_conv"):
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0(nn.Module):
    """Features of any output stride, and at 32 the scores of ImageNet's classes."""

    def __init__(self, output_stride: int = 32):
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, **BN)
        self._blocks = nn.ModuleList()
        channels, total = 32, 2
        for index, (kernel, expansion, outputs) in enumerate(BLOCKS):
            stride = STRIDES.get(index, 1)
            skips = index not in STRIDES and channels == outputs
            if total * stride > output_stride:
                stride = 1
            total *= stride
            dilation = DILATIONS[output_stride][index]
            block = Block(channels, kernel, expansion, outputs, stride, dilation, skips)
            self._blocks.append(block)
            channels = outputs
        self._conv_head = SameConv(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, **BN)
        self._fc = nn.Linear(1280, 1000)

    def stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The last features of stride 4, 8 and 16, and the last of all."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        outputs = []
        for block in self._blocks:
            x = block(x)
            outputs.append(x)
        return [outputs[index] for index in STAGE_ENDS]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self._bn1(self._conv_head(self.stages(x)[-1])))
        return self._fc(x.mean((2, 3)))
