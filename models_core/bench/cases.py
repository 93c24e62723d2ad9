"""Measuring one thing in several variants.

Every variant lives in a process of its own, so that its peak memory is its own, and they take
turns: what else the machine does meets all of them alike, and ratios hold on a busy one too.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch

from models_core.training.memory import peak_memory_mb

# What a child runs: `prepare(**options)` gives a function that does the work once and returns
# how many seconds a unit of it took.
Prepare = Callable[..., Callable[[], float]]


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Args:
        name: what is measured, such as "sampling, 64×64, batch 16".
        unit: what `per_second` counts, such as "samples".
        prepare: see `Prepare`; a function of a module, for it crosses into other processes.
        variants: options of `prepare` by the variant's name; ratios are to the first.
    """

    name: str
    unit: str
    prepare: Prepare
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What was measured of one variant; `failure` says why nothing was."""

    variant: str
    per_second: float | None = None
    all: Sequence[float] = ()
    ready_s: float | None = None
    peak_mb: float | None = None
    failure: str = ""


def measure(case: Case, repeats: int, threads: int, patience: float) -> list[Row]:
    """Every variant `repeats` times, by turns. Prints as it goes."""
    print(case.name, file=sys.stderr)
    context = multiprocessing.get_context("spawn")
    workers: dict[str, tuple[Any, Connection]] = {}
    failures: dict[str, str] = {}
    ready: dict[str, float] = {}
    try:
        for variant, options in case.variants.items():
            ours, theirs = context.Pipe()
            arguments = (theirs, case.prepare, dict(options), threads)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            begun = time.monotonic()
            answer = _answer(ours, patience)
            if isinstance(answer, float):
                workers[variant], ready[variant] = (process, ours), answer
                print(f"  {variant}: ready in {answer:.1f} s", file=sys.stderr)
            else:
                failures[variant] = answer or f"not ready in {time.monotonic() - begun:.0f} s"
                print(f"  {variant}: {failures[variant]}", file=sys.stderr)
                process.kill()
        seconds: dict[str, list[float]] = {variant: [] for variant in workers}
        for _ in range(repeats):
            for variant, (_, pipe) in workers.items():
                pipe.send("again")
                seconds[variant].append(float(pipe.recv()))
        return [_row(v, seconds, ready, failures, workers) for v in case.variants]
    finally:
        for process, _ in workers.values():
            process.kill()
            process.join()


def _row(
    variant: str,
    seconds: Mapping[str, list[float]],
    ready: Mapping[str, float],
    failures: Mapping[str, str],
    workers: Mapping[str, tuple[Any, Connection]],
) -> Row:
    if variant in failures:
        return Row(variant, failure=failures[variant])
    pipe = workers[variant][1]
    pipe.send("memory")
    rates = [1 / s for s in seconds[variant]]
    row = Row(variant, statistics.median(rates), rates, ready[variant], float(pipe.recv()))
    print(f"  {variant}: {row.per_second:.3g} a second", file=sys.stderr)
    return row


def _answer(pipe: Connection, patience: float) -> float | str:
    """Seconds to get ready, or why it is not ("" for out of time)."""
    if not pipe.poll(patience):
        return ""
    try:
        return pipe.recv()
    except EOFError:
        return "its process died"


def _serve(pipe: Connection, prepare: Prepare, options: dict[str, Any], threads: int) -> None:
    """In the child: get ready, then work and tell whenever asked."""
    torch.set_num_threads(threads)
    begun = time.monotonic()
    try:
        work = prepare(**options)
        work()  # compiles, allocates
    except Exception as error:  # whatever it is, the other variants can still be measured
        pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        return
    pipe.send(time.monotonic() - begun)
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        if request == "memory":
            pipe.send(peak_memory_mb())
        else:
            pipe.send(work())
