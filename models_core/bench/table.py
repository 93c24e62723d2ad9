"""The table of what was measured: `benchmarks-models.json`, and the page made from it.

A run replaces the cases that it measured and keeps all others, so parts may be measured apart.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models_core.bench.cases import Case, Row

HEAD = """\
# Benchmarks of the models

Written by `make bench-models` (`python -m models_core bench`); {json} holds every single
measurement. Variants of a case were measured by turns, each in a process of its own; figures are
medians, and *ready in* is what loading, building and the first turn took, compilation included.
Compare within a case: ratios hold on a busy machine, absolute figures are of the machine and moment
named.
"""


def write(
    out: Path, section: str, title: str, case: Case, rows: Sequence[Row], repeats: int, threads: int
) -> None:
    """Put one case's rows into both files."""
    file = out.with_suffix(".json")
    results: dict[str, Any] = {}
    if file.exists():
        results = json.loads(file.read_text(encoding="utf-8"))
    cases = results.setdefault(section, {"title": title, "cases": {}})["cases"]
    cases[case.name] = {
        "unit": case.unit,
        "rows": [asdict(row) for row in rows],
        "repeats": repeats,
        "threads": threads,
        "machine": _machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    _replace(file, json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    _replace(out, render(results, file.name))


def render(results: dict[str, Any], json_name: str) -> str:
    """The page, from everything measured so far."""
    parts = [HEAD.format(json=f"`{json_name}`")]
    for section in results.values():
        parts.append(f"## {section['title']}\n")
        parts += [_case(name, case) for name, case in section["cases"].items()]
    return "\n".join(parts)


def _case(name: str, case: dict[str, Any]) -> str:
    rows = case["rows"]
    base = next((row["per_second"] for row in rows if row["per_second"]), None)
    lines = [
        f"### {name}\n",
        f"| variant | {case['unit']}/s | ratio | ready in | peak memory |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        if row["failure"]:
            lines.append(f"| {row['variant']} | {row['failure']} | | | |")
        else:
            speed = row["per_second"]
            lines.append(
                f"| {row['variant']} | {speed:.3g} | {speed / base:.2f} "
                f"| {row['ready_s']:.0f} s | {row['peak_mb']:.0f} MB |"
            )
    lines.append(
        f"\n{case['date']}, {case['machine']}, {case['threads']} thread(s), "
        f"median of {case['repeats']}.\n"
    )
    return "\n".join(lines)


def _machine() -> str:
    import torch

    busy = os.getloadavg()[0]
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, load {busy:.1f}, torch {torch.__version__}"
    )


def _replace(file: Path, text: str) -> None:
    part = file.with_suffix(file.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
