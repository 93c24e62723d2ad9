"""The bars a release is held to, each worked out from the table's figures, never typed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_core.evaluation.recipe import STABLE_DIFFUSION, STYLEDIFFUSER, STYLEGAN2, WHOLE

Line = Mapping[str, Any]  # one of results.json's rows
STEPS = 10  # of the StyleDiffuser that is held to them


@dataclass(frozen=True)
class Bar:
    what: str
    figure: str
    reached: bool


def bars(lines: Sequence[Line]) -> list[Bar]:
    """Those bars whose rows are all in the table."""
    rows = {
        (line["model"], line["steps"]): line
        for line in lines
        if line["model"] != STYLEDIFFUSER or line["conditioning"] == WHOLE
    }
    ours = rows.get((STYLEDIFFUSER, STEPS))
    if ours is None:
        return []
    found = [
        _at_least("benign rate", ours["benign_rate"], 0.8),
        _at_least("tag agreement", ours["tag_agreement"], 0.9),
    ]
    if gan := rows.get((STYLEGAN2, None)):
        name = "StyleGAN2's"
        found += [
            _ahead(f"benign rate 13 points over {name}", ours, gan, 0.13),
            _against(f"Fréchet distance below {name}", ours, gan, "frechet", operator.lt),
            _against(f"recall above {name}", ours, gan, "recall", operator.gt),
            _nearer(f"two-sample test nearer to 50 % than {name}", ours, gan),
        ]
    if diffusion := rows.get((STABLE_DIFFUSION, STEPS)):
        name = f"Stable Diffusion + LoRA's at {STEPS} steps"
        found += [
            _ahead(f"benign rate 9 points over {name}", ours, diffusion, 0.09),
            _against(f"Fréchet distance below {name}", ours, diffusion, "frechet", operator.lt),
            _against(f"precision not below {name}", ours, diffusion, "precision", operator.ge),
            _nearer(f"two-sample test nearer to 50 % than {name}", ours, diffusion),
        ]
    if slow := rows.get((STABLE_DIFFUSION, 50)):
        name = "Stable Diffusion + LoRA's at 50 steps"
        times = ours["images_per_second"] / slow["images_per_second"]
        found += [
            Bar(f"4 times {name} images/s", f"{times:.1f} times", times >= 4),
            _against(f"Fréchet distance not above {name}", ours, slow, "frechet", operator.le),
        ]
    return found


def _at_least(what: str, value: float, least: float) -> Bar:
    return Bar(f"{what} at least {least:.0%}", f"{value:.1%}", value >= least)


def _ahead(what: str, ours: Line, theirs: Line, least: float) -> Bar:
    lead = ours["benign_rate"] - theirs["benign_rate"]
    return Bar(what, f"{100 * lead:+.1f} points", lead >= least)


def _against(
    what: str, ours: Line, theirs: Line, field: str, holds: Callable[[float, float], bool]
) -> Bar:
    mine, other = ours[field], theirs[field]
    return Bar(what, f"{mine:.3f} against {other:.3f}", holds(mine, other))


def _nearer(what: str, ours: Line, theirs: Line) -> Bar:
    mine, other = ours["two_sample_accuracy"], theirs["two_sample_accuracy"]
    return Bar(what, f"{mine:.1%} against {other:.1%}", abs(mine - 0.5) < abs(other - 0.5))
