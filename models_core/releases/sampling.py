"""The parameters a release generates with: its own defaults, and what a caller may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models_core.releases.bundle import ReleaseError

# name: (smallest, largest); an integer bound means an integer parameter.
RANGES: dict[str, tuple[float, float]] = {
    "steps": (1, 200),
    "strength": (0.0, 1.0),
    "truncation": (0.0, 2.0),
    "guidance": (0.0, 30.0),
    "adapter_scale": (0.0, 4.0),
    "style_scale": (0.0, 4.0),
    # Images at once. One at a time, a seed gives the same bits in any batch; more at once are
    # the same up to rounding, and quicker on a GPU.
    "batch_size": (1, 256),
}


def sampling_parameters(
    defaults: Mapping[str, Any], asked: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The release's sampling parameters with the caller's over them, each checked.

    Of `defaults`, a manifest's `params`, other keys (such as `rules`) are passed over; an asked
    key that is no sampling parameter is refused.
    """
    known = {name: value for name, value in defaults.items() if name in RANGES}
    for name in asked or {}:
        if name not in RANGES:
            raise ReleaseError(f"unknown parameter {name!r}; known are {', '.join(RANGES)}")
    return {name: _checked(name, value) for name, value in {**known, **(asked or {})}.items()}


def _checked(name: str, value: Any) -> int | float:
    low, high = RANGES[name]
    whole = isinstance(low, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ReleaseError(f"{name} must be {'an integer' if whole else 'a number'}, not {value!r}")
    if not low <= value <= high:
        raise ReleaseError(f"{name} must be from {low} to {high}, not {value}")
    if name == "strength" and value == 0:
        raise ReleaseError("strength must be above 0: at 0 there is nothing to enhance")
    return value
