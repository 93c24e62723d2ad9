"""What a training keeps between processes, and averages of what it learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from models_core.training.run import Run


def average_decay(step: int, decay: float) -> float:
    """The moving average's decay at this step: short at first, when all is young."""
    return min(decay, (1 + step) / (10 + step))


class PartsState:
    """State that is a step and some parts with a `state_dict` each."""

    PARTS = ("model", "average", "optimizer")
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {"step": self.step, **{p: getattr(self, p).state_dict() for p in self.PARTS}}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from `state`, or from the start where it is None."""
        if state is not None:
            self.step = state["step"]
            for part in self.PARTS:
                getattr(self, part).load_state_dict(state[part])


class ParametersState:
    """State where only some parameters of large frozen models learn: those, and their average."""

    run: Run
    trained: list[Tensor]
    average: list[Tensor]
    optimizer: torch.optim.Optimizer
    step: int = 0

    def begin(self, trained: Sequence[Tensor], state: dict[str, Any] | None) -> None:
        """Average `trained` from now on; with a `state`, go on from there."""
        self.trained = list(trained)
        self.average = [p.detach().clone() for p in self.trained]
        if state is not None:
            self.step = state["step"]
            for mean, value in zip(self.average, state["average"], strict=True):
                mean.copy_(value)
            self._put(state["parameters"])
            self.optimizer.load_state_dict(state["optimizer"])

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "parameters": [p.detach() for p in self.trained],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }

    @torch.no_grad()
    def update_average(self, decay: float) -> None:
        for mean, now in zip(self.average, self.trained, strict=True):
            mean.lerp_(now, 1 - average_decay(self.step, decay))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within, the averaged parameters are in place."""
        kept = [p.detach().clone() for p in self.trained]
        self._put(self.average)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for mine, value in zip(self.trained, values, strict=True):
            mine.copy_(value)
