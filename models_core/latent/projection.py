"""Projection: the w whose drawing is most like a picture, by the encoder and by optimisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models_core.latent.component import Space
from models_core.latent.likeness import Likeness
from models_core.latent.space import LatentSpace

Progress = Callable[[int, int, float], bool | None]
BATCH = 16


@dataclass(frozen=True)
class Optimization:
    """How `optimize` goes.

    Args:
        steps: of Adam.
        lr: its peak, in units of w; ramped up and down as in Karras 2020a, App. D.
        space: "w" keeps all layers' w the same offset from the start, "w+" moves each alone.
        stay: weight of the mean square distance from the start, which keeps w where the
            generator was trained, and what is found fit for mixing.
    """

    steps: int = 200
    lr: float = 0.05
    space: Space = "w+"
    stay: float = 0.02

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 100_000:
            raise ValueError(f"optimisation takes 1 to 100,000 steps, not {self.steps}")
        if self.lr <= 0 or self.stay < 0:
            raise ValueError("the learning rate must be above 0 and `stay` not below")


def optimize(
    space: LatentSpace,
    images: Tensor,
    start: Tensor,
    likeness: Likeness,
    how: Optimization,
    progress: Progress | None = None,
) -> Tensor:
    """Improve `start` until its drawings are like `images`.

    Args:
        images: [N, 3, R, R] in [-1, 1].
        start: ws [N, num_ws, w_dim], such as the encoder's, or the mean w.
        progress: gets (step, steps, mean loss) and stops the search by returning True.

    Returns:
        For every image the best ws that was met, so never worse than the start by `likeness`.
    """
    parts = [
        _optimize(space, x, w, likeness, how, progress)
        for x, w in zip(images.split(BATCH), start.split(BATCH), strict=True)
    ]
    return torch.cat(parts)


def _optimize(
    space: LatentSpace,
    images: Tensor,
    start: Tensor,
    likeness: Likeness,
    how: Optimization,
    progress: Progress | None,
) -> Tensor:
    images, start = images.to(space.device), start.to(space.device).clone()
    shape = (len(start), 1, start.shape[2]) if how.space == "w" else start.shape
    offset = torch.zeros(shape, device=space.device, requires_grad=True)
    adam = torch.optim.Adam([offset], lr=how.lr, betas=(0.9, 0.999))
    best, least = start.clone(), torch.full((len(start),), math.inf, device=space.device)
    for step in range(how.steps + 1):
        adam.param_groups[0]["lr"] = how.lr * ramp(step / how.steps)
        ws = start + offset
        loss = likeness(space.synthesize(ws), images)
        better = loss.detach() < least
        least = torch.where(better, loss.detach(), least)
        best[better] = ws.detach()[better]
        if progress is not None and progress(step, how.steps, least.mean().item()):
            break
        if step < how.steps:
            adam.zero_grad(set_to_none=True)
            # A sum, so that a picture's way does not depend on what is projected beside it.
            (loss + how.stay * offset.square().mean(dim=(1, 2))).sum().backward()
            adam.step()
    return best


def ramp(share: float, up: float = 0.05, down: float = 0.25) -> float:
    """The learning rate's course: a linear start and a cosine end (Karras 2020a, App. D)."""
    end = min(1.0, (1 - share) / down)
    return (0.5 - 0.5 * math.cos(math.pi * end)) * min(1.0, (share + 0.01) / up)


def mean_ws(space: LatentSpace, count: int) -> Tensor:
    """Where to start without an encoder: the mean w, for each of `count` pictures."""
    return space.w_avg.expand(count, space.num_ws, -1).clone()
