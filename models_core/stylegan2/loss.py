"""What the two networks are trained by: logistic losses, lazy penalties, style mixing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models_core.stylegan2.generator import Generator


def mix_styles(
    G: Generator, z: Tensor, c: Tensor, probability: float, *, update_average: bool = True
) -> Tensor:
    """Map z to w; for a share of the batch, from a random layer on, use a second z's w.

    Mixing regularization (Karras 2019, §3.1). z [N, z_dim], c [N, c_dim] → [N, num_ws, w_dim].
    """
    ws = G.mapping(z, c, update_average=update_average)
    if probability > 0:
        other = G.mapping(torch.randn(z.shape).to(z.device), c)
        cut = torch.randint(1, G.num_ws, (len(z), 1, 1))
        cut = torch.where(torch.rand(len(z), 1, 1) < probability, cut, G.num_ws)
        layer = torch.arange(G.num_ws).view(1, -1, 1)
        ws = torch.where((layer < cut).to(z.device), ws, other)
    return ws


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E[softplus(D(fake))] + E[softplus(−D(real))], the logistic loss (Goodfellow 2014)."""
    return F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """E[softplus(−D(G(z)))], the non-saturating one (Goodfellow 2014, §3)."""
    return F.softplus(-fake_logits).mean()


def r1_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """½ E‖∇ₓ D(x)‖² on real images (Mescheder 2018, eq. 9); multiply by γ.

    `logits` is D's output on (augmented) `real`, which must require gradients. [N, C, H, W] → [].
    """
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def path_length_penalty(
    G: Generator, ws: Tensor, mean: Tensor, decay: float = 0.01
) -> tuple[Tensor, Tensor]:
    """(‖J_wᵀ y‖₂ − a)² with y ~ N(0, I) over the image (Karras 2020a, eq. 4).

    ws: [N, num_ws, w_dim]; `mean` is the running average a. Returns the penalty, and the mean
    moved by `decay` towards this batch's lengths.
    """
    image = G.synthesis(ws)
    y = torch.randn(image.shape).to(image.device) / math.sqrt(image.shape[2] * image.shape[3])
    (gradient,) = torch.autograd.grad((image * y).sum(), ws, create_graph=True)
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    new_mean = mean.lerp(lengths.detach().mean(), decay)
    return (lengths - new_mean).square().mean(), new_mean
