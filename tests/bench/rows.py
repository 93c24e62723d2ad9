"""One row of the table: ours beside its reference, and the bar that their ratio has to hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Bar:
    """What a ratio must be: at least a number, or at most one."""

    sign: str
    number: float

    def holds(self, ratio: float) -> bool:
        return ratio >= self.number if self.sign == "≥" else ratio <= self.number

    def __str__(self) -> str:
        return f"{self.sign} {self.number:g}"


@dataclass(frozen=True)
class Row:
    name: str
    ours: float
    reference: float
    unit: str
    bar: Bar
    sound: bool = True
    """Whether what else the bar asks for was seen, such as a plan without a scan."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know of how it was measured, and what was measured besides."""

    @property
    def ratio(self) -> float:
        return self.ours / self.reference

    @property
    def holds(self) -> bool:
        return self.sound and self.bar.holds(self.ratio)

    def record(self) -> dict[str, Any]:
        numbers = {"ours": self.ours, "reference": self.reference, "ratio": self.ratio}
        rounded = {name: float(f"{number:.4g}") for name, number in numbers.items()}
        return {
            "name": self.name,
            "ours": rounded["ours"],
            "reference": rounded["reference"],
            "unit": self.unit,
            "ratio": rounded["ratio"],
            "bar": str(self.bar),
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Size:
    """How much is measured; the small one is for tests of the benches themselves."""

    small: bool = False

    def __call__(self, whole: int, small: int) -> int:
        return small if self.small else whole


def by_turns(
    repeats: int, ours: Callable[[], T], reference: Callable[[], T]
) -> tuple[list[T], list[T]]:
    """Both in turn, so that what else the machine does meets both alike."""
    pairs = [(ours(), reference()) for _ in range(repeats)]
    return [one for one, _ in pairs], [other for _, other in pairs]
