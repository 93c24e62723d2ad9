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
# What `models_core.stylediffuser.schedulers` makes, named here without torch.
SCHEDULERS = ("euler", "euler-ancestral", "heun", "dpm++", "ddim")
KNOWN = (*RANGES, "scheduler")
MAX_SIZE = 4096


def sampling_parameters(
    defaults: Mapping[str, Any], asked: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The release's sampling parameters with the caller's over them, each checked.

    Of `defaults`, a manifest's `params`, other keys (such as `rules`) are passed over; an asked
    key that is no sampling parameter is refused.
    """
    known = {name: value for name, value in defaults.items() if name in KNOWN}
    for name in asked or {}:
        if name not in KNOWN:
            raise ReleaseError(f"unknown parameter {name!r}; known are {', '.join(KNOWN)}")
    return {name: _checked(name, value) for name, value in {**known, **(asked or {})}.items()}


def avatar_size(params: Mapping[str, Any]) -> int | None:
    """Pixels a side beyond which pictures are shrunk; None where they are left as they are."""
    size = params.get("size")
    if size is not None and (type(size) is not int or not 1 <= size <= MAX_SIZE):
        raise ReleaseError(f"size must be an integer from 1 to {MAX_SIZE}, not {size!r}")
    return size


def _checked(name: str, value: Any) -> int | float | str:
    if name == "scheduler":
        if value not in SCHEDULERS:
            raise ReleaseError(f"scheduler must be one of {', '.join(SCHEDULERS)}, not {value!r}")
        return str(value)
    low, high = RANGES[name]
    whole = isinstance(low, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        raise ReleaseError(f"{name} must be {'an integer' if whole else 'a number'}, not {value!r}")
    if not low <= value <= high:
        raise ReleaseError(f"{name} must be from {low} to {high}, not {value}")
    if name == "strength" and value == 0:
        raise ReleaseError("strength must be above 0: at 0 there is nothing to enhance")
    return value
