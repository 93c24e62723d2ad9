"""Drawing a row's pictures and timing its model, in a process that holds that model alone.

    <run>/rows/<row>-<identity>/identity.json   what made the pictures
    <run>/rows/<row>-<identity>/1000000.npz     block after block of them, by first seed
    <run>/rows/<row>-<identity>/speed.json      seconds, images a second, peak memory

A block appears whole or not at all, so a stopped comparison goes on where it was; another model or
other parameters have another identity, and folder, so pictures of two models never mix.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models_core.commands import CommandError
from models_core.evaluation.recipe import Comparison, Row
from models_core.releases.bundle import Bundle
from models_core.releases.traits import Traits

BLOCK = 64  # pictures a file
SINGLES = 7  # pictures timed alone
BATCHES = 3  # batches timed


@dataclass(frozen=True)
class Speed:
    """How fast one model draws here, and what it needs for that."""

    seconds_per_image: float  # median of single pictures
    images_per_second: float  # in batches
    peak_mib: float  # of the whole process; on CUDA of the device
    threads: int


def row_folder(run: Path, row: Row, identity: dict[str, Any]) -> Path:
    text = json.dumps(identity, sort_keys=True)
    folder = run / "rows" / f"{row.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "identity.json").write_text(json.dumps(identity, indent=2, sort_keys=True) + "\n")
    return folder


def asked_tags(bundle: Bundle, seeds: Sequence[int]) -> list[dict[str, str]]:
    """Each seed's traits by group, as the release draws them."""
    traits = Traits(bundle.manifest["tags"], bundle.manifest["params"].get("rules", ()))
    return [{traits.group_of[tag]: tag for tag in traits.draw(seed)} for seed in seeds]


def drawn(folder: Path, seeds: range) -> np.ndarray:
    """The row's pictures, uint8 [n, size, size, 3]."""
    blocks = [np.load(block_file(folder, first))["images"] for first in blocks_of(seeds)]
    return np.concatenate(blocks)[: len(seeds)]


def read_speed(folder: Path) -> Speed:
    return Speed(**json.loads((folder / "speed.json").read_text()))


def blocks_of(seeds: range) -> range:
    """The first seeds of the blocks that hold these."""
    return range(seeds.start, seeds.stop, BLOCK)


def block_file(folder: Path, first: int) -> Path:
    return folder / f"{first}.npz"


def draw_row(row: Row, comparison: Comparison, folder: Path, device: str, threads: int) -> None:
    """Time the model and draw what is missing of the row, in a process of its own."""
    missing = [
        first for first in blocks_of(comparison.seeds) if not block_file(folder, first).exists()
    ]
    if not missing and (folder / "speed.json").exists():
        return
    # Spawned, not forked: the memory that this process has ever used must not count.
    context = multiprocessing.get_context("spawn")
    process = context.Process(
        target=_work, args=(row, comparison, folder, missing, device, threads)
    )
    process.start()
    try:
        process.join()
    except KeyboardInterrupt:
        process.terminate()
        process.join()
        raise
    if process.exitcode:
        raise CommandError(
            f"drawing {row.name} failed (exit code {process.exitcode}): see what it wrote above; "
            "the same command goes on where it stopped"
        )


def _work(
    row: Row, comparison: Comparison, folder: Path, missing: list[int], device: str, threads: int
) -> None:
    import torch
    from tqdm import tqdm

    from models_core.evaluation.models import open_model, verified

    torch.set_num_threads(threads)
    bundle = verified(comparison)
    model = open_model(row, comparison, bundle, device)

    def draw(seeds: Sequence[int]) -> np.ndarray:
        return model(seeds, [list(tags.values()) for tags in asked_tags(bundle, seeds)])

    if not (folder / "speed.json").exists():
        speed = measure_speed(draw, comparison.batch, device, threads)
        _write(folder / "speed.json", json.dumps(asdict(speed), indent=2).encode())
    with tqdm(total=len(missing) * BLOCK, unit="img", desc=row.name, leave=False) as bar:
        for first in missing:
            parts = []
            for start in range(first, first + BLOCK, comparison.batch):
                seeds = range(start, min(start + comparison.batch, first + BLOCK))
                parts.append(draw(seeds))
                bar.update(len(seeds))
            _save_block(block_file(folder, first), np.concatenate(parts))


def measure_speed(
    draw: Callable[[Sequence[int]], np.ndarray], batch: int, device: str, threads: int
) -> Speed:
    """Seconds for one picture alone, and pictures a second in batches; medians, warmed up."""
    seeds = iter(range(10**9))

    def timed(count: int) -> float:
        started = time.perf_counter()
        draw([next(seeds) for _ in range(count)])
        return time.perf_counter() - started

    timed(1)
    alone = statistics.median(timed(1) for _ in range(SINGLES))
    timed(batch)
    together = statistics.median(timed(batch) for _ in range(BATCHES))
    return Speed(alone, batch / together, peak_mib(device), threads)


def peak_mib(device: str) -> float:
    """The most memory this process has had at once, or, on CUDA, has had on the device."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would count what the parent had when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _save_block(file: Path, images: np.ndarray) -> None:
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, images=images)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def _write(file: Path, content: bytes) -> None:
    part = file.with_suffix(".part")
    part.write_bytes(content)
    part.replace(file)
