"""Colour: brightness, contrast, luma flip, hue and saturation as one affine map of RGB."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models_core.stylegan2.ada.draws import lognormal, normal, uniform, whole

BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0


def colour(images: Tensor, p: float) -> Tensor:
    """Change each image's colours at random. [N, 3, H, W] in [−1, 1] → about the same range."""
    return transform(images, colour_transforms(len(images), p))


def colour_transforms(n: int, p: float) -> Tensor:
    """[N, 3, 4]: new = M[:, :3] rgb + M[:, 3]."""
    brightness = normal(n, p, BRIGHTNESS).view(n, 1, 1)
    contrast = lognormal(n, p, CONTRAST).view(n, 1, 1)
    flip = whole(n, p, 2).view(n, 1, 1)
    hue = uniform(n, p, -math.pi, math.pi)
    saturation = lognormal(n, p, SATURATION).view(n, 1, 1)
    grey = torch.full((3, 3), 1 / 3)  # v vᵀ of the luma axis v = (1, 1, 1) / √3
    eye = torch.eye(3)
    # All but brightness leave the origin in place, so the shift passes through them in turn.
    linear = eye * contrast
    shift = (brightness * contrast).expand(n, 3, 1)
    for step in (
        eye - 2 * grey * flip,  # mirrored at the plane of no luma (Householder)
        hue_rotation(hue),
        grey + (eye - grey) * saturation,
    ):
        linear, shift = step @ linear, step @ shift
    return torch.cat([linear, shift], dim=2)


def hue_rotation(angle: Tensor) -> Tensor:
    """Rotation about the luma axis (Rodrigues). [N] → [N, 3, 3]."""
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * torch.eye(3) + sin * cross + (1 - cos) / 3


def transform(images: Tensor, matrices: Tensor) -> Tensor:
    """Apply [N, 3, 4] to every pixel of [N, 3, H, W]."""
    m = matrices.to(images.device, images.dtype)
    return (m[:, :, :3] @ images.flatten(2) + m[:, :, 3:]).view_as(images)
