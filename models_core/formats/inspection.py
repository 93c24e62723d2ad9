"""The answer to "what is this file?": a verdict with everything that could be told of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from models_core.formats.probe import probe
from models_core.formats.verdicts import Corrupt, Incompatible, Refused

LONGEST = 4000  # characters of a text in a report
INSPECTION = 1  # version of the answer; docs/checkpoints.md describes it


def inspect(path: Path, *, kind: str | None = None) -> dict[str, Any]:
    """The report of a file or folder; a refused one is a report as well.

    Args:
        kind: what the person who brought it says it is; another kind is incompatible.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with probe(path) as found:
            report = found.report()
        if kind is not None and report["kind"] != kind:
            raise Incompatible(f"it is a {report['kind']}, not the {kind} it was said to be")
        return answer("ready", **report)
    except Refused as refused:
        return refusal(refused)
    except (RecursionError, MemoryError):
        return refusal(Corrupt("it nests or repeats its data beyond all measure"))


def answer(state: str, reason: str = "", **details: Any) -> dict[str, Any]:
    return cleaned({"inspection": INSPECTION, "state": state, "reason": reason, **details})


def cleaned(value: Any) -> Any:
    """What a stranger wrote, as plain JSON that any terminal and any database takes."""
    if isinstance(value, str):
        short = value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
        return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in short)
    if isinstance(value, dict):
        return {cleaned(str(key)): cleaned(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [cleaned(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return None
    return value


def refusal(refused: Refused) -> dict[str, Any]:
    return answer(refused.state, str(refused), **refused.details())
