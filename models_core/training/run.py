"""A run: a folder that explains itself and survives being killed at any moment.

    <run>/README.txt       what this is and how to go on; run.json holds the same for programs
    <run>/recipe.toml      the recipe as given
    <run>/log.jsonl        one line per logging interval
    <run>/samples/*.png    grids on fixed latents
    <run>/checkpoint.pt    the newest whole state, replaced atomically
    <run>/snapshots/       weights alone, kept
    <run>/export/          the newest weights, for use

Every random draw of step n comes from a generator seeded with (seed, n), so resuming needs no
generator state and is exact to the bit.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models_core.training.about import describe
from models_core.training.interrupt import interruptible
from models_core.training.journal import Journal
from models_core.training.memory import peak_memory_mb
from models_core.training.processes import Processes, process_rank


class Run:
    """Where a training loop writes, and what it resumes from.

    `recipe` is the parsed file, but for `training.batch`, which is this process's share of it.
    """

    def __init__(self, folder: Path, recipe_file: Path) -> None:
        self.folder = Path(folder)
        self.processes = Processes()
        self.journal = Journal(self.folder)
        self.recipe: dict[str, Any] = tomllib.loads(recipe_file.read_text(encoding="utf-8"))
        if self.processes.first:
            (self.folder / "samples").mkdir(parents=True, exist_ok=True)
            (self.folder / "snapshots").mkdir(exist_ok=True)
            kept = self.folder / "recipe.toml"
            if recipe_file.resolve() != kept.resolve():
                shutil.copyfile(recipe_file, kept)
        training = self.recipe.get("training", {})
        if self.processes.count > 1 and "batch" in training:
            training["batch"] = self.processes.share(training["batch"])
        self.processes.wait()

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.processes.device

    @property
    def batch(self) -> int:
        """Images that one step takes in all processes together."""
        return self.recipe["training"]["batch"] * self.processes.count

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint, or None on a first start."""
        if not self.checkpoint.exists():
            return None
        state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if self.processes.first and "step" in state:
            self.journal.forget_after(state["step"])
        return state

    def save(self, state: dict[str, Any]) -> None:
        if self.processes.first:
            save_whole(state, self.checkpoint)

    def log(self, **values: Any) -> None:
        if self.processes.first:
            self.journal.write(values)

    def samples(self, name: str) -> Path:
        return self.folder / "samples" / f"{name}.png"


def save_whole(state: Any, file: Path) -> None:
    """Write a file that is whole or the one before, also when the power fails."""
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yields an empty folder to fill, which then takes the place of `folder`.

    A process killed while it fills the folder leaves the one before untouched.
    """
    part, old = (folder.with_name(folder.name + ending) for ending in (".part", ".old"))
    if old.exists() and not folder.exists():  # killed between the two renames
        old.replace(folder)
    for rest in (part, old):
        shutil.rmtree(rest, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    if folder.exists():
        folder.replace(old)
    part.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def seed_step(seed: int, step: int) -> torch.Generator:
    """Seed torch's global generator for one step and return a generator for the data order.

    Every process of a training has draws of its own; the first has those of the only one.
    """
    mixed = (seed * 1_000_003 + step) & 0x7FFFFFFFFFFFFFFF
    mixed ^= process_rank() << 48
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

    `saved` runs after each checkpoint, `sample` every `sample_every` steps, both in the first
    process alone. Ctrl-C and SIGTERM save before they end the training (in a single process).
    """
    run, processes = job.run, job.run.processes
    processes.average_gradients(
        v for v in vars(job).values() if isinstance(v, torch.optim.Optimizer)
    )
    loop = type(job).__module__.rpartition(".")[2].replace("_", "-")
    if processes.first:
        for warning in describe(run.folder, loop, run.recipe, job.step, last):
            print(f"warning: {warning}", file=sys.stderr)
        run.journal.begin(job.step, last)
    meter = Meter(job)
    try:
        with interruptible() as interrupt:
            ending = job.step >= last
            while not ending:
                meter.add(job.take_step())
                run.journal.advance()
                ending = job.step >= last or (interrupt.asked and processes.count == 1)
                if ending or job.step % job.cfg["log_every"] == 0:
                    run.log(**meter.read())
                if ending or job.step % job.cfg["save_every"] == 0:
                    run.save(job.state())
                    if processes.first:
                        saved()
                if (
                    sample
                    and processes.first
                    and (job.step == last or job.step % job.cfg["sample_every"] == 0)
                ):
                    sample()
    finally:
        run.journal.end()
    processes.wait()
    if job.step < last:
        print(f"stopped and saved at step {job.step}; the same command goes on", file=sys.stderr)
        raise KeyboardInterrupt


class Meter:
    """Means of what steps return, and the speed, since it was last read."""

    def __init__(self, job: Training) -> None:
        self.job = job
        self._begin()

    def _begin(self) -> None:
        self.sums: dict[str, list[float]] = {}
        self.clock, self.marked = time.monotonic(), self.job.step

    def add(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.sums.setdefault(name, []).append(value)

    def read(self) -> dict[str, Any]:
        job = self.job
        batch = job.run.batch
        seconds = time.monotonic() - self.clock
        row = {
            "step": job.step,
            "kimg": job.step * batch / 1000,
            **{name: sum(values) / len(values) for name, values in self.sums.items()},
            "images_per_s": (job.step - self.marked) * batch / seconds,
            "memory_mb": peak_memory_mb(),
        }
        self._begin()
        return row
