"""What came of the faults, for people and for programs."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from tests.faults.fault import Outcome

BEGIN, END = "<!-- measured: written by python -m tests.faults --docs -->", "<!-- end -->"
COLUMNS = ("fault", "recovery", "allowed", "made", "delivered", "ingested", "served", "lost",
           "doubled", "load", "")  # fmt: skip


@dataclass
class Round:
    number: int
    ground: str
    batch_seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(outcome.holds for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        return {
            "round": self.number,
            "ground": self.ground,
            "batch_seconds": round(self.batch_seconds, 1),
            "holds": self.holds,
            "faults": [outcome.as_json() for outcome in self.outcomes],
        }


def line(outcome: Outcome) -> str:
    """One fault, as soon as it is over."""
    if outcome.skipped:
        return f"  skipped   {outcome.what}: {outcome.skipped}"
    took = "never" if outcome.recovery is None else f"{outcome.recovery:.1f} s"
    word = "holds" if outcome.holds else "BROKEN"
    told = [f"  {word:<9} {outcome.what}: {took} of {outcome.bar:.0f} s; {outcome.visits.words()}"]
    told += [f"              {note}" for note in outcome.notes]
    told += [f"            ! {brief(complaint)}" for complaint in outcome.complaints]
    return "\n".join(told)


def brief(complaint: str) -> str:
    """Without the tails of the logs."""
    return complaint.partition("\n")[0]


def table(played: Round) -> str:
    rows = [COLUMNS, *(_row(outcome) for outcome in played.outcomes)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}" for i, (cell, w) in
                  enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]  # fmt: skip
    head = f"Round {played.number} ({played.ground}; one batch: {played.batch_seconds:.1f} s)"
    return "\n".join([head, *lines])


def _row(outcome: Outcome) -> tuple[str, ...]:
    if outcome.skipped:
        return (outcome.what, *[""] * (len(COLUMNS) - 2), "skipped")
    totals = outcome.totals
    recovery = "never" if outcome.recovery is None else f"{outcome.recovery:.1f} s"
    counts = (totals.generated, totals.delivered, totals.ingested, len(outcome.visits.served))
    return (
        outcome.what, recovery, f"{outcome.bar:.0f} s", *map(str, counts),
        str(outcome.lost), str(outcome.doubled), f"{outcome.load:.1f}",
        "holds" if outcome.holds else "BROKEN",
    )  # fmt: skip


def write_json(path: Path, rounds: Sequence[Round]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(),
              "holds": all(played.holds for played in rounds),
              "rounds": [played.as_json() for played in rounds]}  # fmt: skip
    path.write_text(json.dumps(report, indent=1) + "\n")


def machine() -> str:
    cores = len(os.sched_getaffinity(0))
    return f"{platform.machine()}, {cores} cores, Python {platform.python_version()}"


def write_docs(page: Path, report: dict[str, Any]) -> None:
    """Put the measured table of a finished run between the page's two marks."""
    text = page.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    assert pattern.search(text), f"{page} has no place for the table"
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n{_measured(report)}\n{END}", text))


def _measured(report: dict[str, Any]) -> str:
    rounds = report["rounds"]
    grounds = "; ".join(
        f"round {played['round']} on {played['ground']}, T {played['batch_seconds']} s"
        for played in rounds
    )
    lines = [
        f"Measured {report['when'][:16].replace('T', ' ')} UTC on {report['machine']}; {grounds}.",
        "",
        "| fault | recovery (each round) | allowed | made / delivered / ingested / served "
        "| lost | doubled | load | visitors |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = [entry["fault"] for entry in rounds[0]["faults"]]
    for name in names:
        entries = [e for played in rounds for e in played["faults"] if e["fault"] == name]
        lines.append(_measured_row(entries))
    return "\n".join(lines)


def _measured_row(entries: Sequence[dict[str, Any]]) -> str:
    played = [entry for entry in entries if not entry["skipped"]]
    if not played:
        return f"| {entries[0]['what']} | not run: {entries[0]['skipped']} | | | | | | |"
    sums = " / ".join(
        str(sum(entry[key] for entry in played))
        for key in ("generated", "delivered", "ingested", "served")
    )
    recoveries = " · ".join(_seconds(entry["recovery_seconds"]) for entry in played)
    allowed = " · ".join(f"{entry['bar_seconds']:.0f}" for entry in played)
    load = median(entry["load"] for entry in played)
    lost, doubled = (sum(entry[key] for entry in played) for key in ("lost", "doubled"))
    holds = "" if all(entry["holds"] for entry in played) else " **broken**"
    return (
        f"| {played[0]['what']}{holds} | {recoveries} s | {allowed} s | {sums} | {lost} "
        f"| {doubled} | {load:.1f} | {_visitors(played)} |"
    )


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f}"


def _visitors(played: Iterable[dict[str, Any]]) -> str:
    met = [entry["visitors"] for entry in played]
    asked, at_once, waited = (sum(m[key] for m in met) for key in ("asked", "at_once", "waited"))
    again: dict[str, int] = {}
    for m in met:
        for code, count in m["tried_again"].items():
            again[code] = again.get(code, 0) + count
    words = f"{at_once} of {asked} served at once"
    words += f", {waited} by ticket" if waited else ""
    words += "".join(f", {count}× {code}" for code, count in sorted(again.items()))
    return f"{words}; longest wait {max(m['longest_wait_seconds'] for m in met):.1f} s"
