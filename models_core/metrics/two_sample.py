"""Classifier two-sample test (Lopez-Paz & Oquab 2017): can a fresh network tell them apart?

Stricter than the critic, which knows faults but not these models: this one learns whatever tells
this model's pictures from real ones. All pictures are first disturbed below sight, since the
evenness of rendered art would tell them apart where no person could.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from models_core.critic.examples import disturbed, to_input
from models_core.critic.network import CriticNetwork
from models_core.metrics.benign import Share, share

WIDTHS = (16, 32, 64, 96)
BATCH = 32
EPOCHS = 6
FEWEST = 200  # steps, where pictures are few
RATE = 2e-3


def two_sample_accuracy(
    real: np.ndarray,
    made: np.ndarray,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Share:
    """Accuracy on the halves held out, of a network trained on the others; 0.5 is perfect.

    real, made: uint8 [n, size, size, 3]; of the longer set only as many as of the shorter are
    used. Fewer pictures train a weaker network: compare only at equal n. `progress` gets (steps
    done, of).
    """
    n = min(len(real), len(made))
    dice = np.random.default_rng(seed)
    halves = [order[: n // 2] for order in (dice.permutation(n), dice.permutation(n))]
    rest = [np.setdiff1d(np.arange(n), half) for half in halves]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CriticNetwork(real.shape[1], WIDTHS)
        _train(network, real[np.sort(halves[0])], made[np.sort(halves[1])], dice, progress)
    right = _said(network, real[rest[0]], dice) > 0
    wrong = _said(network, made[rest[1]], dice) > 0
    return share(int(right.sum()) + int((~wrong).sum()), len(right) + len(wrong))


def _train(
    network: CriticNetwork,
    real: np.ndarray,
    made: np.ndarray,
    dice: Generator,
    progress: Callable[[int, int], None] | None,
) -> None:
    steps = max(EPOCHS * 2 * len(real) // BATCH, FEWEST)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    wanted = torch.cat([torch.ones(BATCH // 2), torch.zeros(BATCH // 2)])
    network.train()
    for step in range(steps):
        chosen = [part[dice.integers(len(part), size=BATCH // 2)] for part in (real, made)]
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / 20, (1 + math.cos(math.pi * step / steps)) / 2)
        loss = F.binary_cross_entropy_with_logits(
            network(_input(np.concatenate(chosen), dice)), wanted
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, steps)
    network.eval()


@torch.inference_mode()
def _said(network: CriticNetwork, images: np.ndarray, dice: Generator) -> Tensor:
    parts = [
        network(_input(images[start : start + BATCH], dice))
        for start in range(0, len(images), BATCH)
    ]
    return torch.cat(parts)


def _input(images: np.ndarray, dice: Generator) -> Tensor:
    return to_input(np.stack([disturbed(image.astype(np.float32) / 255, dice) for image in images]))
