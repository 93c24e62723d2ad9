"""Which parts go together. Every rule is about two parts and answers with a sentence, or nothing.

The start (the prototype's picture, redrawn) asks for nothing: any StyleGAN2 goes with any Stable
Diffusion. The adapter was trained with one of each, and a LoRA with one kind of base.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.conf import settings

from . import shapes
from .parts import Part


def misfit(part: Part, others: Sequence[Part]) -> str:
    """Why `part` cannot be with the others; empty where it can."""
    if part.trouble:
        return part.trouble
    for other in others:
        if not other.trouble and (reason := _between(part, other)):
            return reason
    return ""


def _between(one: Part, two: Part) -> str:
    for first, second in ((one, two), (two, one)):
        rule = RULES.get((first.slot, second.slot))
        if rule is not None and (reason := rule(first, second)):
            return str(reason)
    return ""


def needs_upscaler(base: Part) -> str:
    """Why a base cannot do without an upscaler; empty where it can."""
    drawn = 0 if base.trouble else base.shape.resolution
    if not drawn or drawn >= settings.AVATAR_SIZE:
        return ""
    return (
        f"{base.title} draws {drawn} pixels a side, and avatars have {settings.AVATAR_SIZE}: it "
        "needs an upscaler."
    )


def _adapter_and_prototype(adapter: Part, prototype: Part) -> str:
    wants: shapes.Adapter = adapter.shape
    has: shapes.Prototype = prototype.shape
    if (wants.num_ws, wants.w_dim) != (has.num_ws, has.w_dim):
        return (
            f"The adapter {adapter.title} was trained for {wants.num_ws} w's of {wants.w_dim} "
            f"numbers; the prototype {prototype.title} has {has.num_ws} of {has.w_dim}."
        )
    if dict(wants.channels) != dict(has.channels):
        return (
            f"The adapter {adapter.title} reads feature maps of {_listed(wants.channels)} "
            f"channels; the prototype {prototype.title} has {_listed(has.channels)}."
        )
    return ""


def _adapter_and_base(adapter: Part, base: Part) -> str:
    wants: shapes.Adapter = adapter.shape
    has: shapes.Base = base.shape
    if wants.text != has.text:
        return (
            f"The adapter {adapter.title} speaks in {wants.text} text channels; the base "
            f"{base.title} reads {has.text}."
        )
    if (wants.residuals, wants.inner) != (has.residuals, has.inner):
        return (
            f"The adapter {adapter.title} was trained for a U-Net of other widths than that of "
            f"{base.title}."
        )
    return ""


def _lora_and_base(lora: Part, base: Part) -> str:
    wants: shapes.Lora = lora.shape
    has: shapes.Base = base.shape
    if wants.text and wants.text != has.text:
        return (
            f"The LoRA {lora.title} was trained for {wants.text} text channels; the base "
            f"{base.title} reads {has.text}."
        )
    for block, width in wants.blocks.items():
        if has.blocks.get(block) != width:
            own = has.blocks.get(block)
            return (
                f"The LoRA {lora.title} changes {width} channels in {block}; the base {base.title} "
                f"has {own if own else 'no such block'}."
            )
    return ""


def _base_and_upscaler(base: Part, upscaler: Part) -> str:
    drawn, factor = base.shape.resolution, upscaler.shape.factor
    if drawn * factor >= settings.AVATAR_SIZE:
        return ""
    return (
        f"{base.title} draws {drawn} pixels a side, and {upscaler.title} makes them "
        f"{drawn * factor}; avatars have {settings.AVATAR_SIZE}."
    )


RULES = {
    ("adapter", "prototype"): _adapter_and_prototype,
    ("adapter", "base"): _adapter_and_base,
    ("lora", "base"): _lora_and_base,
    ("base", "upscaler"): _base_and_upscaler,
}


def _listed(channels: Mapping[int, int]) -> str:
    return ", ".join(f"{channels[size]} at {size}" for size in sorted(channels))
