"""A run: a folder that explains itself and survives being killed at any moment.

    <run>/recipe.toml      the recipe as given
    <run>/log.jsonl        one line per logging interval
    <run>/samples/*.png    grids on fixed latents
    <run>/checkpoint.pt    the newest whole state, replaced atomically
    <run>/snapshots/       weights alone, kept

Every random draw of step n comes from a generator seeded with (seed, n), so resuming needs no
generator state and is exact to the bit.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Run:
    """Where a training loop writes, and what it resumes from."""

    def __init__(self, folder: Path, recipe_file: Path) -> None:
        self.folder = Path(folder)
        (self.folder / "samples").mkdir(parents=True, exist_ok=True)
        (self.folder / "snapshots").mkdir(exist_ok=True)
        self.recipe: dict[str, Any] = tomllib.loads(recipe_file.read_text())
        kept = self.folder / "recipe.toml"
        if recipe_file.resolve() != kept.resolve():
            shutil.copyfile(recipe_file, kept)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None on a first start."""
        if not self.checkpoint.exists():
            return None
        return torch.load(self.checkpoint, map_location="cpu", weights_only=True)

    def save(self, state: dict[str, Any]) -> None:
        part = self.checkpoint.with_suffix(".part")
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.checkpoint)

    def log(self, **values: Any) -> None:
        line = {k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)

    def samples(self, name: str) -> Path:
        return self.folder / "samples" / f"{name}.png"


def seed_step(seed: int, step: int) -> torch.Generator:
    """Seed torch's global generator for one step and return a generator for the data order."""
    mixed = (seed * 1_000_003 + step) & 0x7FFFFFFFFFFFFFFF
    torch.manual_seed(mixed)
    return torch.Generator().manual_seed(mixed ^ 0x5DEECE66D)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of parameters; buffers are copied."""
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 1 - decay)
    for mean, now in zip(average.buffers(), model.buffers(), strict=True):
        mean.copy_(now)


def batch_indices(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """`batch` indices drawn uniformly (with replacement over the run, hardly ever in a batch)."""
    return torch.randint(count, (batch,), generator=generator)


class Training(Protocol):
    """What `take_steps` drives: the state of one model's training."""

    run: Run
    cfg: dict[str, Any]
    """The recipe's `[training]` table."""
    step: int

    def take_step(self) -> dict[str, float]:
        """One step of optimization; returns what to log, averaged over the logging interval."""

    def state(self) -> dict[str, Any]:
        """All that the next process needs to go on from here."""


def take_steps(
    job: Training,
    last: int,
    *,
    saved: Callable[[], None],
    sample: Callable[[], None] | None = None,
) -> None:
    """Train until step `last`: log, save and sample at the recipe's intervals and at the end.

    `saved` runs after each checkpoint, `sample` every `sample_every` steps.
    """
    run, batch = job.run, job.cfg["batch"]
    sums: dict[str, list[float]] = {}
    clock, marked = time.monotonic(), job.step

    def due(every: int) -> bool:
        return job.step % every == 0 or job.step == last

    while job.step < last:
        for name, value in job.take_step().items():
            sums.setdefault(name, []).append(value)
        if due(job.cfg["log_every"]):
            speed = (job.step - marked) * batch / (time.monotonic() - clock)
            means = {name: sum(values) / len(values) for name, values in sums.items()}
            run.log(step=job.step, kimg=job.step * batch / 1000, **means, images_per_s=speed)
            sums, clock, marked = {}, time.monotonic(), job.step
        if due(job.cfg["save_every"]):
            run.save(job.state())
            saved()
        if sample and due(job.cfg["sample_every"]):
            sample()
