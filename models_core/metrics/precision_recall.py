"""Improved precision and recall (Kynkäänniemi 2019, §2): how much of one set lies in the other."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 1024  # rows of the distance matrix in memory at once


def precision_recall(real: Tensor, made: Tensor, k: int = 3) -> tuple[float, float]:
    """Precision, the share of made features in real's manifold, and recall, the reverse.

    real [n, d], made [m, d]. A set's manifold is a ball around each of its members that reaches
    its k-th nearest other member.
    """
    return covered(made, real, k), covered(real, made, k)


def covered(points: Tensor, manifold: Tensor, k: int) -> float:
    """The share of `points` [n, d] within the k-nearest-neighbour balls of `manifold` [m, d]."""
    if len(manifold) <= k:
        raise ValueError(f"balls to the {k} nearest neighbours need more than {k} pictures")
    radii = neighbour_distances(manifold, k)
    inside = [(distances(block, manifold) <= radii).any(dim=1) for block in points.split(BLOCK)]
    return float(torch.cat(inside).double().mean())


def neighbour_distances(points: Tensor, k: int) -> Tensor:
    """Each point's distance to its k-th nearest other point, [n]; itself is at distance 0."""
    nearest = [
        distances(block, points).kthvalue(k + 1, dim=1).values for block in points.split(BLOCK)
    ]
    return torch.cat(nearest)


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean, [n, m]; in double precision, for it is quickest through products."""
    return torch.cdist(a.double(), b.double(), compute_mode="use_mm_for_euclid_dist")
