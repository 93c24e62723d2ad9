"""How strong the augmentation is: p, steered by a sign that D overfits (Karras 2020b, §3.1).

    r_v = (E[D_train] − E[D_val]) / (E[D_train] − E[D_gen])
    r_t = E[sign(D_train)]

Both are 0 without overfitting and 1 when it is complete. Every few minibatches p rises by a fixed
amount where r is above its target, and falls where it is below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

HEURISTICS = ("r_t", "r_v")


class Strength:
    """p, and the outputs of D since it was last adjusted.

    Args:
        p: where it begins; with no `heuristic`, where it stays.
        heuristic: "r_t", "r_v" or None.
        target: the value of r to keep.
        interval: minibatches between adjustments.
        kimg: thousands of real images in which p could rise from 0 to 1.
    """

    def __init__(
        self,
        p: float = 0.0,
        heuristic: str | None = "r_t",
        *,
        target: float = 0.6,
        interval: int = 4,
        kimg: float = 500,
    ) -> None:
        if heuristic is not None and heuristic not in HEURISTICS:
            raise ValueError(f"heuristic is one of {', '.join(HEURISTICS)}, not {heuristic!r}")
        self.p, self.heuristic, self.target = p, heuristic, target
        self.interval, self.kimg = interval, kimg
        self._clear()

    def _clear(self) -> None:
        self.batches = 0
        self.images = 0
        # Sums, so that processes and minibatches may be added up: of D's output on training
        # images, its sign, and its output on generated and on validation images; and their counts.
        self.sums = torch.zeros(4, dtype=torch.float64)
        self.counts = torch.zeros(4, dtype=torch.float64)

    def add(self, train: Tensor, generated: Tensor) -> None:
        """Take one minibatch's outputs of D, each [N, 1]."""
        self.batches += 1
        self.images += len(train)
        for place, values in ((0, train), (1, train.sign()), (2, generated)):
            self._count(place, values)

    def add_validation(self, values: Tensor) -> None:
        self._count(3, values)

    def _count(self, place: int, values: Tensor) -> None:
        self.sums[place] += values.detach().double().sum().cpu()
        self.counts[place] += values.numel()

    @property
    def due(self) -> bool:
        """Whether enough minibatches were seen to adjust p."""
        return self.batches >= self.interval

    @property
    def needs_validation(self) -> bool:
        return self.heuristic == "r_v"

    def overfitting(self) -> float:
        """The heuristic's r over what was added; 0 where D does not tell real from generated."""
        train, sign, generated, validation = (self.sums / self.counts.clamp(min=1)).tolist()
        if self.heuristic == "r_t":
            return sign
        apart = train - generated
        return (train - validation) / apart if apart > 1e-8 else 0.0

    def adjust(self, processes: int = 1) -> float:
        """Move p by what the images seen allow, forget them, and return r."""
        r = self.overfitting()
        step = self.images * processes / (self.kimg * 1000)
        direction = (r > self.target) - (r < self.target)
        self.p = min(max(self.p + direction * step, 0.0), 1.0)
        self._clear()
        return r

    def state_dict(self) -> dict[str, Any]:
        return {
            "p": self.p,
            "batches": self.batches,
            "images": self.images,
            "sums": self.sums.clone(),
            "counts": self.counts.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.p, self.batches, self.images = state["p"], state["batches"], state["images"]
        self.sums, self.counts = state["sums"].clone(), state["counts"].clone()
