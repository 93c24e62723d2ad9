"""The samplers that may solve the reverse process, and the part of the schedule they run."""

from __future__ import annotations

import copy
import inspect
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

SCHEDULERS: dict[str, Any] = {
    "euler": EulerDiscreteScheduler,  # Karras 2022, algorithm 2 without churn; Euler's method
    "euler-ancestral": EulerAncestralDiscreteScheduler,  # adds fresh noise at every step
    "heun": HeunDiscreteScheduler,  # second order: two evaluations a step
    "dpm++": DPMSolverMultistepScheduler,  # Lu 2022: second order from the step before
    "ddim": DDIMScheduler,  # Song 2021: Euler's method in other variables
}


def make_scheduler(name: str | None, own: Any) -> Any:
    """A scheduler of its own state with the noise schedule of `own`; None is `own`'s kind.

    Raises:
        ValueError: the name is none of `SCHEDULERS`.
    """
    if name is None:
        return copy.deepcopy(own)
    if name not in SCHEDULERS:
        raise ValueError(f"scheduler must be one of {', '.join(SCHEDULERS)}, not {name!r}")
    # Latents are not bounded by 1, so nothing may clip them.
    return SCHEDULERS[name].from_config(own.config, timestep_spacing="trailing", clip_sample=False)


def plan(scheduler: Any, steps: int, strength: float, device: Any) -> Any:
    """Set the scheduler to `steps` steps from `strength`·T down to 0 and return its timesteps.

    A scheduler that takes timesteps gets them evenly spaced in that part. Another one gets the
    whole schedule at the same spacing, and its last `steps` steps are run.
    """
    if "timesteps" in inspect.signature(scheduler.set_timesteps).parameters:
        spaced = partial_timesteps(scheduler, steps, strength)
        scheduler.set_timesteps(timesteps=spaced, device=device)
        return scheduler.timesteps
    whole = min(max(round(steps / strength), steps), scheduler.config.num_train_timesteps)
    scheduler.set_timesteps(whole, device=device)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(whole - steps)
    return scheduler.timesteps[-steps:]


def partial_timesteps(scheduler: Any, steps: int, strength: float) -> list[int]:
    """`steps` training timesteps from strength·T down to 0, evenly spaced, the first included."""
    last = scheduler.config.num_train_timesteps * strength
    spaced = [round(last - last / steps * i) - 1 for i in range(steps)]
    return sorted({max(t, 0) for t in spaced}, reverse=True)
