"""The numbers a release generates with: what each means, its bounds, and what is usual.

Workers check them again when they open a release; a test holds both to the same bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator_worker.contract import MIN_DISTANCE

SCHEDULERS = ("euler", "euler-ancestral", "heun", "dpm++", "ddim")
LORA_WEIGHT = (-10.0, 10.0)


@dataclass(frozen=True)
class Parameter:
    name: str
    label: str
    usual: float
    low: float
    high: float
    hint: str
    whole: bool = False
    with_adapter: bool = False  # means nothing without one

    @property
    def step(self) -> str:
        return "1" if self.whole else "any"

    def read(self, value: Any) -> float | int:
        """The number, from a form's text or a program's JSON. ValueError says what it must be."""
        kind = "a whole number" if self.whole else "a number"
        try:
            if isinstance(value, bool):
                raise TypeError
            found = float(value)
        except (TypeError, ValueError, OverflowError):
            found = float("nan")
        fits = self.low <= found <= self.high and not (self.whole and found % 1)
        if self.name == "strength" and found == 0:
            raise ValueError("It must be above 0: at 0 there is nothing to enhance.")
        if not fits:
            raise ValueError(f"It must be {kind} from {self.low:g} to {self.high:g}.")
        return int(found) if self.whole else found


PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter("truncation", "Truncation ψ", 0.8, 0, 2, "Lower is more alike and safer."),
        Parameter("strength", "Strength", 0.6, 0, 1, "The share of the schedule that is run."),
        Parameter("steps", "Steps", 10, 1, 200, "Evaluations of the U-Net a picture.", whole=True),
        Parameter("guidance", "Guidance", 1, 0, 30, "On the caption; 1 is none, and quickest."),
        Parameter(
            "adapter_scale", "Adapter scale", 1, 0, 4, "0 switches it off.", with_adapter=True
        ),
        Parameter(
            "style_scale", "Style-token scale", 1, 0, 4, "0 switches it off.", with_adapter=True
        ),
        Parameter("batch_size", "Pictures at once", 1, 1, 256, "Together on a GPU.", True),
        Parameter("min_score", "Lowest score", 0.7, 0, 1, "Below it the critic drops a picture."),
        Parameter("max_unsafe", "Highest unsafe", 0.5, 0, 1, "Above it a picture is dropped."),
        Parameter(
            "min_distance",
            "Least difference",
            MIN_DISTANCE,
            0,
            255,
            "Of colours from pictures before; nearer ones are dropped.",
        ),
    )
}


def read(given: Mapping[str, Any], adapter: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters that were given, and what is wrong with those that cannot be used."""
    found: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for name, value in given.items():
        field = f"params.{name}"
        if name == "scheduler":
            if value in SCHEDULERS:
                found[name] = value
            else:
                faults[field] = f"It is one of {', '.join(SCHEDULERS)}."
        elif name not in PARAMETERS:
            known = ", ".join((*PARAMETERS, "scheduler"))
            faults[field] = f"There is no such parameter; there are {known}."
        elif adapter or not PARAMETERS[name].with_adapter:
            try:
                found[name] = PARAMETERS[name].read(value)
            except ValueError as error:
                faults[field] = str(error)
    return found, faults
