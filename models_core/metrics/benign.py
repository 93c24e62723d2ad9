"""Benign rate: the share of pictures that the critic scores 0.7 or more, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scipy.stats import binomtest

from models_core.critic.critic import BENIGN


class Share(NamedTuple):
    """A share of n and its 95 % interval."""

    value: float
    low: float
    high: float


def benign_rate(scores: Sequence[float]) -> Share:
    return share(sum(score >= BENIGN for score in scores), len(scores))


def share(count: int, of: int) -> Share:
    """With Wilson's interval (1927), which stays within 0…1 at small counts too."""
    interval = binomtest(count, of).proportion_ci(confidence_level=0.95, method="wilson")
    return Share(count / of, float(interval.low), float(interval.high))
