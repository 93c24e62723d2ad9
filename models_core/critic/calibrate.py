"""After training: make the score mean what it should, and say how well it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from models_core.critic.critic import BENIGN, Calibration, Critic
from models_core.critic.examples import disturbed, to_input
from models_core.critic.harm import Frame, harm, visible
from models_core.critic.parts import PART_FAULTS

REAL_SHARE = 0.97  # of held-out real images, how many must be benign


def held_out(
    real: Sequence[Frame], per_fault: int, dice: Generator, faults: Sequence[str]
) -> tuple[Tensor, Tensor, list[str]]:
    """Real images (each frame's first) and single faults of known strength made from others.

    Returns uint8-valued inputs [n, 3, h, w] in [-1, 1], strengths [n] (0 for real) and the
    faults' names ("" for real).
    """
    images: list[np.ndarray] = []
    strengths: list[float] = []
    labels: list[str] = []
    for name in ("", *faults):
        count = 8 * per_fault if not name else per_fault
        for n in range(count):
            frame = real[n % len(real)]
            one, other = frame.two(dice)
            strength = (n + 1) / count if name else 0.0
            if name:
                bad = harm(one, other, strength, dice, name, frame.parts)
                strength *= visible(one, bad)
                one = disturbed(bad, dice)
            images.append((one * 255).round() / 255)  # as files hold them
            strengths.append(strength)
            labels.append(name)
    return to_input(np.stack(images)), torch.tensor(strengths), labels


def calibrate(logits: Tensor, strengths: Tensor) -> Calibration:
    """Fit temperature and bias to score = 1 - strength; then let enough real images be benign."""
    log_temperature = torch.zeros((), requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature, bias], max_iter=100)

    def loss() -> Tensor:
        optimizer.zero_grad()
        scaled = (logits - bias) / log_temperature.exp()
        value = F.binary_cross_entropy_with_logits(scaled, 1 - strengths)
        value.backward()
        return value

    optimizer.step(loss)
    temperature, shift = log_temperature.exp().item(), bias.item()
    worst = float(torch.quantile(logits[strengths == 0], 1 - REAL_SHARE))
    benign = float(torch.logit(torch.tensor(BENIGN)))
    return Calibration(temperature, min(shift, worst - temperature * benign))


def report(critic: Critic, images: Tensor, strengths: Tensor, labels: list[str]) -> dict[str, Any]:
    """What the critic is worth on held-out images."""
    scores = critic.calibration(critic.logits(images)).numpy()
    strength, names = strengths.numpy(), np.array(labels)
    faulty = strength > 0
    small = np.isin(names, list(PART_FAULTS)) & (strength >= 0.3) & (strength < 0.7)
    bins = np.clip((strength * 5).astype(int), 0, 4)
    return {
        "images": len(scores),
        "real_benign": float((scores[~faulty] >= BENIGN).mean()),
        "real_mean": float(scores[~faulty].mean()),
        "spearman": _correlation(scores[faulty], strength[faulty]),
        "spearman_by_fault": {
            name: _correlation(scores[names == name], strength[names == name])
            for name in dict.fromkeys(labels)
            if name
        },
        "benign_by_strength": {
            f"{b / 5:.1f}-{(b + 1) / 5:.1f}": float((scores[faulty & (bins == b)] >= BENIGN).mean())
            for b in range(5)
        },
        "auc_half_or_worse": _auc(scores[~faulty], scores[strength >= 0.5]),
        # Small faults of middling strength in one part: the hardest that a person minds.
        "auc_parts": _auc(scores[~faulty], scores[small]) if small.any() else None,
    }


def _correlation(scores: np.ndarray, strengths: np.ndarray) -> float:
    """Spearman's rank correlation of goodness with faultlessness: 1 is perfect."""
    return float(spearmanr(scores, -strengths).statistic)


def _auc(good: np.ndarray, bad: np.ndarray) -> float:
    """The probability that a good picture has the higher score."""
    order = np.argsort(np.argsort(np.concatenate([good, bad])))
    n = len(good)
    return float((order[:n].sum() - n * (n - 1) / 2) / (n * len(bad)))
