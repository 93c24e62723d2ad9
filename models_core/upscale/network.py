"""The compact super-resolution network of Real-ESRGAN."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class CompactNetwork(nn.Module):
    """A plain stack of convolutions that predicts what nearest-neighbour enlargement misses.

    All layers work at the small size and one pixel shuffle at the end enlarges, which is why it
    is quick on a CPU. Source: Wang et al., "Real-ESRGAN" (2021), and its public description of the
    compact (VGG-style) models; `animevideov3` has 64 features, 16 middle layers, factor 4:
    0.62 M parameters.

    Input and output are RGB in [0, 1]: (n, 3, h, w) → (n, 3, factor·h, factor·w); the output is
    not clamped.
    """

    def __init__(self, features: int = 64, layers: int = 16, factor: int = 4) -> None:
        super().__init__()
        self.features, self.layers, self.factor = features, layers, factor
        body: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(layers):
            body += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        body.append(nn.Conv2d(features, 3 * factor**2, 3, padding=1))
        self.body = nn.Sequential(*body)

    @property
    def reach(self) -> int:
        """How many pixels away an input pixel still changes the output (one a convolution)."""
        return sum(isinstance(layer, nn.Conv2d) for layer in self.body)

    def forward(self, x: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.body(x), self.factor)  # (n, 3, factor·h, factor·w)
        return F.interpolate(x, scale_factor=self.factor, mode="nearest") + detail


@torch.inference_mode()
def enlarge(network: CompactNetwork, x: Tensor, tile: int | None = None) -> Tensor:
    """Run `network` on (n, 3, h, w), in tiles of at most `tile` pixels when given.

    Each tile is read with `network.reach` pixels around it, so that tiles change the memory
    needed but not the picture: at a seam a pixel sees all that it would see in the whole image.
    """
    _, _, height, width = x.shape
    if tile is None or max(height, width) <= tile:
        return network(x).clamp(0, 1)
    k, reach = network.factor, network.reach
    out = x.new_empty(x.shape[0], 3, height * k, width * k)
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            y0, x0 = max(top - reach, 0), max(left - reach, 0)
            part = network(x[:, :, y0 : bottom + reach, x0 : right + reach])
            part = part[
                :, :, (top - y0) * k : (bottom - y0) * k, (left - x0) * k : (right - x0) * k
            ]
            out[:, :, top * k : bottom * k, left * k : right * k] = part
    return out.clamp(0, 1)
