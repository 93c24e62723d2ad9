"""Kernel distance: squared maximum mean discrepancy with a cubic kernel (Bińkowski 2018, KID)."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from models_core.metrics.frechet import Features


def kernel_distance(
    real: Tensor, made: Tensor, *, subsets: int = 50, size: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard deviation over random subsets of features [n, d] and [m, d]; 0 is the same.

    Unbiased at any n, so it may be a little under 0. Subsets are no larger than the smaller set.
    """
    size = min(size, len(real), len(made))
    with warnings.catch_warnings():  # that features are kept in memory is meant so
        warnings.simplefilter("ignore", UserWarning)
        distance = KernelInceptionDistance(
            Features(real.shape[1]), subsets=subsets, subset_size=size, degree=3
        )
    distance.update(real.double(), real=True)
    distance.update(made.double(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, deviation = distance.compute()
    return float(mean), float(deviation)
