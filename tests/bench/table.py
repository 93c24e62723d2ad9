"""What was measured: `benchmarks.json`, a list of rows and nothing else, and the page beside it.

A run replaces the rows of the benches that it measured and keeps the others', each with when and
under what load it was measured: that is kept in the page's own table and read back from there.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.rows import Row

HEAD = """\
# Benchmarks

Written by `make bench`, which took about {minutes} minutes on two busy cores; `make bench
BENCH=claims` measures one. Ours and its reference were measured by turns in one run, with the same
load and on the same cores; figures are medians, and a bar that is not held makes the command fail.
Ratios mean something on a busy machine too, absolute figures are of the machine and moment named.
The same rows are in [benchmarks.json](benchmarks.json). The models' speed, by `make bench-models`,
is in [benchmarks-models.md](benchmarks-models.md).

| bench | what | ours | reference | unit | ratio | bar | holds |
| --- | --- | ---: | ---: | --- | ---: | --- | --- |
"""
MINUTES = 25
MEASURED = "## When and how\n"
LINE = re.compile(r"^- \*(?P<bench>\w+)\*: (?P<rest>.*)$", re.M)
ROW = re.compile(r"^\| (?P<bench>\w+) \| (?P<name>[^|]+) \|", re.M)


def write(page: Path, order: Sequence[str], bench: str, rows: list[Row], seconds: float) -> None:
    """Put one bench's rows into both files."""
    known = _known(page)
    known[bench] = [row.record() for row in rows]
    notes = _notes(page)
    notes[bench] = _circumstances(rows, seconds)
    benches = [name for name in order if name in known]
    records = [record for name in benches for record in known[name]]
    _replace(page.with_suffix(".json"), json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    lines = [_line(name, record) for name in benches for record in known[name]]
    measured = [f"- *{name}*: {notes[name]}" for name in benches if name in notes]
    text = HEAD.format(minutes=MINUTES) + "\n".join(lines) + f"\n\n{MEASURED}\n"
    _replace(page, text + "\n".join(measured) + "\n")


def as_text(rows: list[Row]) -> str:
    return "\n".join(
        f"  {r.name}: {r.ours:.4g} to {r.reference:.4g} {r.unit} = {r.ratio:.3g} "
        f"(bar {r.bar}{'' if r.holds else ': BROKEN'}){''.join(f'; {n}' for n in r.notes)}"
        for r in rows
    )


def _known(page: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows measured before, by bench: which is whose, the page tells."""
    if not page.exists() or not page.with_suffix(".json").exists():
        return {}
    owner = {found["name"]: found["bench"] for found in ROW.finditer(page.read_text())}
    known: dict[str, list[dict[str, Any]]] = {}
    for record in json.loads(page.with_suffix(".json").read_text()):
        if record["name"] in owner:
            known.setdefault(owner[record["name"]], []).append(record)
    return known


def _notes(page: Path) -> dict[str, str]:
    if not page.exists():
        return {}
    return {found["bench"]: found["rest"] for found in LINE.finditer(page.read_text())}


def _circumstances(rows: list[Row], seconds: float) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    notes = "".join(f"; {note}" for row in rows for note in row.notes)
    return (
        f"{when} UTC, {seconds:.0f} s, {platform.machine()}, {os.cpu_count()} cores, "
        f"load {load} (1, 5 and 15 minutes, ours included){notes}"
    )


def _line(bench: str, record: dict[str, Any]) -> str:
    holds = "yes" if record["holds"] else "**no**"
    return (
        f"| {bench} | {record['name']} | {record['ours']:,.4g} | {record['reference']:,.4g} "
        f"| {record['unit']} | {record['ratio']:.3g} | {record['bar']} | {holds} |"
    )


def _replace(file: Path, text: str) -> None:
    part = file.with_suffix(file.suffix + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
