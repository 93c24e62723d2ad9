"""Mixing inside a mask alone, and masks found by what a tag changes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models_core.latent.space import LatentSpace

DRAWS = 48  # random drawings that a tag's direction in W is measured on
THRESHOLD = 0.25  # of the strongest change, from which on a pixel belongs to the region
FEATHER = 64  # the inside of a mask fades out over one pixel in so many of the picture's side


def feather_width(resolution: int) -> int:
    """Pixels over which the inside of a mask fades out."""
    return max(1, resolution // FEATHER)


def paste(inside: Tensor, outside: Tensor, mask: Tensor) -> Tensor:
    """`outside` with `inside` where the mask is.

    inside, outside: [N, 3, R, R]; mask: [N, 1, R, R] in 0 to 1. The seam fades within the mask,
    so that not one pixel outside it changes.
    """
    soft = feathered(mask, feather_width(mask.shape[-1]))
    return torch.where(mask > 0, outside + soft * (inside - outside), outside)


def feathered(mask: Tensor, width: int) -> Tensor:
    """The mask, fading to 0 over `width` pixels inside its own edge."""
    if width < 1:
        return mask
    size = 2 * width + 1
    # Beyond the picture's border there is no seam: the mask goes on as it is at the border.
    padded = F.pad(mask, (width,) * 4, mode="replicate")
    shrunk = -F.max_pool2d(-padded, size, 1)
    blurred = F.avg_pool2d(F.pad(shrunk, (width,) * 4, mode="replicate"), size, 1)
    return torch.minimum(blurred, mask)


def find_groups(space: LatentSpace, name: str) -> list[str]:
    """The tag groups that `name` means: the one so called, or all with the word in their names.

    "hair" is hair colour, style and length.
    """
    groups = list(space.about.tags)
    if not groups:
        raise ValueError("this generator has no groups of tags to find a region by; give a mask")
    found = [group for group in groups if group == name]
    found = found or [group for group in groups if name in group.split()]
    if not found:
        raise ValueError(f"no tag group {name!r}; there are {', '.join(groups)}")
    return found


@torch.no_grad()
def tag_directions(space: LatentSpace, group: str) -> Tensor:
    """What each tag of a group adds to w, on the mean of random drawings: [tags, w_dim]."""
    positions = [space.tags.index(tag) for tag in space.about.tags[group]]
    c = space.labels(space.traits(range(DRAWS)))
    c[:, positions] = 0
    z = torch.randn(DRAWS, space.generator.z_dim, generator=torch.Generator().manual_seed(0))
    rows = []
    for position in positions:
        own = c.clone()
        own[:, position] = 1
        rows.append(space.generator.mapping(z.to(space.device), own)[:, 0].mean(dim=0))
    w = torch.stack(rows)
    return w - w.mean(dim=0)


@torch.no_grad()
def region_mask(space: LatentSpace, ws: Tensor, groups: Sequence[str]) -> Tensor:
    """Where the drawings of ws [N, num_ws, w_dim] change with the tags of these groups.

    The generator itself says where hair or eyes are: each tag's direction is added to w, and the
    pixels that answer are the region. Returns [N, 1, R, R] of zeros and ones.
    """
    total = torch.zeros(len(ws), 1, space.resolution, space.resolution, device=space.device)
    for group in groups:
        directions = tag_directions(space, group)
        for i, w in enumerate(ws):
            drawn = space.synthesize(w + directions.unsqueeze(1)).clamp(-1, 1)
            change = drawn.std(dim=0, correction=0).mean(dim=0)
            total[i, 0] = torch.maximum(total[i, 0], change / change.max().clamp(min=1e-6))
    region = closed(without_specks((total > THRESHOLD).float()))
    # Wider by as much as `paste` fades: what was there before must not shine through its edge.
    width = feather_width(space.resolution)
    return F.max_pool2d(region, 2 * width + 1, 1, width)


def without_specks(mask: Tensor) -> Tensor:
    """The mask without pixels that most of their eight neighbours are outside of."""
    near = F.avg_pool2d(mask, 3, 1, 1)
    return mask * (near > 0.4)


def closed(mask: Tensor, radius: int = 1) -> Tensor:
    """Widened by two `radius`, then narrowed by one: gaps close and outlines are inside."""
    wide = F.max_pool2d(mask, 4 * radius + 1, 1, 2 * radius)
    return -F.max_pool2d(-wide, 2 * radius + 1, 1, radius)
