"""How unlike two pictures are: in their pixels, and in a judge's features."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models_core.critic.critic import Critic
from models_core.metrics.features import open_extractor

JUDGES = "a critic's folder, or efficientnet-lite0"


class CriticFeatures(nn.Module):
    """Activations of a critic's blocks, each pixel's scaled to unit length (as LPIPS, Zhang 2018).

    A critic learnt what faults of this very art look like, so its features see edges, eyes and
    mouths where a mean of squares sees areas. It takes pictures of any size.
    """

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.body = critic.network.body.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        out = []
        for layer in self.body:
            x = layer(x)
            if isinstance(layer, nn.SiLU):  # after each resolution's last convolution
                out.append(F.normalize(x, dim=1))
        return out


class ExtractorFeatures(nn.Module):
    """The shared image features (see `models_core.metrics.features`), scaled to unit length."""

    def __init__(self, name: str) -> None:
        super().__init__()
        extractor = open_extractor(name)
        self.network, self.size = extractor.network.requires_grad_(False), extractor.size

    def forward(self, x: Tensor) -> list[Tensor]:
        x = (x.clamp(-1, 1) + 1) * 127.5
        if self.size is not None:
            x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True)
        return [F.normalize(self.network(x), dim=1)[:, :, None, None]]


def open_judge(name: str | None) -> nn.Module | None:
    """The features of a critic's folder, an extractor's by its name, or None for pixels alone."""
    if not name:
        return None
    if (Path(name) / "config.json").is_file():
        return CriticFeatures(Critic.open(Path(name)))
    try:
        return ExtractorFeatures(name)
    except ValueError as error:
        raise ValueError(f"no features {name!r} (wanted: {JUDGES}): {error}") from error


def pixel_error(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """4·MSE + L1 of pixels [N, 3, R, R] → [N]; with a mask [N, 1, R, R], of its inside alone.

    The same pixel loss as the autoencoder's: flat art needs both its areas and its edges.
    """
    difference = a - b
    error = (4 * difference.square() + difference.abs()).mean(dim=1, keepdim=True)
    if mask is None:
        return error.mean(dim=(1, 2, 3))
    return (error * mask).sum(dim=(1, 2, 3)) / mask.sum(dim=(1, 2, 3)).clamp(min=1)


class Likeness(nn.Module):
    """How unlike [N, 3, R, R] in [-1, 1] are: `pixel_error` + `weight` · distance of features."""

    def __init__(self, judge: nn.Module | None = None, weight: float = 1.0) -> None:
        super().__init__()
        self.judge, self.weight = judge, weight

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return pixel_error(a, b) + self.features(a, b)

    def features(self, a: Tensor, b: Tensor) -> Tensor:
        """`weight` · mean square distance of the judge's features [N]; gradients reach `a`."""
        if self.judge is None or not self.weight:
            return a.new_zeros(len(a))
        with torch.no_grad():
            goal = self.judge(b)
        parts = [
            (x - y).square().sum(dim=1).flatten(1).mean(dim=1)
            for x, y in zip(self.judge(a), goal, strict=True)
        ]
        return self.weight * torch.stack(parts).mean(dim=0)
