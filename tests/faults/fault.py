"""What a fault is, and what came of one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from tests.faults.checker import Totals
from tests.faults.visitors import Visits

if TYPE_CHECKING:
    from tests.faults.scene import Scene


class Missing(Exception):
    """The fault needs what is not there; the message says what."""


@dataclass(frozen=True)
class Fault:
    name: str
    what: str
    """What is done, for the table."""
    play: Callable[[Scene], None]
    seconds: float
    """Until the buffer is back at its mark, plus `batches` times what a batch takes."""
    batches: float
    ours: bool
    """The time is this project's own, where the table of faults names none."""
    fast: bool

    def bar(self, batch_seconds: float) -> float:
        return self.seconds + self.batches * batch_seconds

    @property
    def bar_words(self) -> str:
        words = f"{self.seconds:g} s" + (" + T" if self.batches else "")
        return f"({words})" if self.ours else words


FAULTS: dict[str, Fault] = {}


def fault(
    what: str, *, seconds: float = 45, batches: float = 1, ours: bool = False, fast: bool = False
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register a scenario. It breaks something, calls `scene.clock()`, and waits for
    `scene.back()`."""

    def register(play: Callable[[Scene], None]) -> Callable[[Scene], None]:
        FAULTS[play.__name__] = Fault(play.__name__, what, play, seconds, batches, ours, fast)
        return play

    return register


@dataclass
class Outcome:
    fault: str
    what: str
    bar: float
    bar_words: str
    recovery: float | None = None
    totals: Totals = field(default_factory=Totals)
    visits: Visits = field(default_factory=Visits)
    lost: int = 0
    doubled: int = 0
    notes: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    skipped: str = ""
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    at: float = field(default_factory=time.time)

    @property
    def holds(self) -> bool:
        return bool(self.skipped) or (not self.complaints and not self.lost and not self.doubled)

    def as_json(self) -> dict[str, Any]:
        totals, visits = asdict(self.totals), self.visits
        return {
            "fault": self.fault,
            "what": self.what,
            "holds": self.holds,
            "skipped": self.skipped,
            "recovery_seconds": None if self.recovery is None else round(self.recovery, 1),
            "bar_seconds": round(self.bar, 1),
            **totals,
            "served": len(visits.served),
            "lost": self.lost,
            "doubled": self.doubled,
            "visitors": {
                "asked": visits.asked,
                "at_once": visits.at_once,
                "waited": visits.waited,
                "tried_again": dict(visits.refused),
                "longest_wait_seconds": round(visits.longest_wait, 2),
            },
            "notes": self.notes,
            "complaints": self.complaints,
            "load": round(self.load, 2),
        }
