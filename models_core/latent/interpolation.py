"""Ways from one picture to another: linear in w, spherical in z, and between near neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models_core.latent.animation import MAX_FRAMES
from models_core.latent.space import LatentSpace
from models_core.stylegan2.sample import latents

NEAR_STEPS = 7
ATTEMPTS = 20_000
BATCH = 500
USUAL = 0.01  # an alpha not given is the distance that one draw in a hundred is nearer than


def steps_between(count: int, *, closed: bool = False) -> Tensor:
    """`count` shares from 0 to 1; without the last where the next way begins there."""
    check_frames(count)
    return torch.linspace(0, 1, count + 1)[:-1] if closed else torch.linspace(0, 1, count)


def check_frames(count: int) -> None:
    """ValueError where so many frames are none of a way."""
    if not 2 <= count <= MAX_FRAMES:
        raise ValueError(f"a way has 2 to {MAX_FRAMES} frames from one to the next, not {count}")


def lerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """(1 - t)·a + t·b for every t of `shares` [T]; a, b of one shape → [T, …]."""
    t = shares.view(-1, *([1] * a.ndim)).to(a)
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, shares: Tensor) -> Tensor:
    """Along the great circle from a to b (Shoemake 1985), lengths interpolated; [D] → [T, D].

    z is Gaussian, so nearly all of it lies on a sphere, which a straight line leaves.
    """
    length_a, length_b = a.norm(), b.norm()
    unit_a, unit_b = a / length_a, b / length_b
    angle = torch.acos((unit_a @ unit_b).clamp(-1, 1))
    t = shares.to(a).unsqueeze(1)
    lengths = length_a + t * (length_b - length_a)
    if angle.sin() < 1e-4:  # parallel: the circle is not defined, and the line is as good
        return lerp(a, b, shares)
    along = torch.sin((1 - t) * angle) * unit_a + torch.sin(t * angle) * unit_b
    return lengths * along / angle.sin()


def through(keys: Sequence[Tensor], frames: int, *, loop: bool = False) -> Tensor:
    """Linear in w through `keys` (each [num_ws, w_dim]), `frames` from one to the next.

    Returns [T, num_ws, w_dim]; with `loop` back to the first, whose frame is not repeated.
    """
    ends = _ways(keys, frames, loop)
    parts = [
        lerp(a, b, steps_between(frames, closed=loop or i < len(ends) - 1))
        for i, (a, b) in enumerate(ends)
    ]
    return torch.cat(parts)


@torch.no_grad()
def through_seeds(
    space: LatentSpace,
    seeds: Sequence[int],
    frames: int,
    *,
    tags: Sequence[str] = (),
    truncation: float = 1.0,
    loop: bool = False,
) -> Tensor:
    """Spherical in z through the seeds; labels, where there are any, go linearly beside.

    Returns [T, num_ws, w_dim].
    """
    z, c = latents(seeds, space.generator.z_dim), space.labels(space.traits(seeds, tags))
    order = list(range(len(seeds)))
    parts = []
    for i, (a, b) in enumerate(ends := _ways(order, frames, loop)):
        shares = steps_between(frames, closed=loop or i < len(ends) - 1)
        zs = slerp(z[a], z[b], shares).to(space.device)
        cs = lerp(c[a], c[b], shares)
        parts.append(space.generator.mapping(zs, cs, truncation_psi=truncation))
    return torch.cat(parts)


@dataclass(frozen=True)
class Neighbours:
    """Two near latents, the steps from one to the other, and how they were found."""

    ws: Tensor
    """[steps, num_ws, w_dim]"""
    seed: int
    distance: float
    alpha: float
    attempts: int


def near_neighbours(
    space: LatentSpace,
    seed: int,
    alpha: float | None = None,
    *,
    tags: Sequence[str] = (),
    truncation: float = 1.0,
    steps: int = NEAR_STEPS,
) -> Neighbours:
    """Pick w₁ by `seed`, redraw w₂ until ‖w₁ - w₂‖ < α, then go linearly in `steps` steps.

    w₂ comes of the seeds that follow. Without `alpha` it is measured: the distance that one of
    the first draws in a hundred is nearer than.

    Raises:
        ValueError: no draw of 20,000 was near enough; says how near the nearest was.
    """
    if alpha is not None and alpha <= 0:
        raise ValueError(f"alpha is a distance above 0, not {alpha:g}")
    first = space.from_seeds([seed], tags, truncation)
    nearest, tried = float("inf"), 0
    while tried < ATTEMPTS:
        others = range(seed + 1 + tried, seed + 1 + tried + BATCH)
        ws = space.from_seeds(others, tags, truncation)
        distances = (ws[:, 0] - first[:, 0]).norm(dim=1)
        if alpha is None:
            alpha = max(distances.quantile(USUAL).item(), 1e-6)
        near = (distances < alpha).nonzero().flatten()
        if len(near):
            at = int(near[0])
            way = lerp(first[0], ws[at], steps_between(steps))
            return Neighbours(way, others[at], distances[at].item(), alpha, tried + at + 1)
        nearest, tried = min(nearest, distances.min().item()), tried + BATCH
    raise ValueError(
        f"none of {ATTEMPTS:,} draws came nearer than alpha = {alpha:g}; the nearest came to "
        f"{nearest:.3g}: give a larger alpha"
    )


def _ways(keys: Sequence, frames: int, loop: bool) -> list[tuple]:
    if len(keys) < 2:
        raise ValueError("a way needs at least two pictures to lead from and to")
    check_frames(frames)
    ways = list(zip(keys, [*keys[1:], keys[0]] if loop else keys[1:], strict=False))
    if len(ways) * frames > MAX_FRAMES:
        raise ValueError(
            f"{len(ways)} ways of {frames} frames are more than {MAX_FRAMES} frames; ask for fewer"
        )
    return ways
