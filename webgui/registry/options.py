"""What may be chosen beside what is chosen already, and why the rest may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import fitting, parts, shapes
from .composition import Wish
from .parts import Part

SHOWN = 8  # trigger words


@dataclass(frozen=True)
class Option:
    part: Part
    chosen: bool
    reason: str  # why it does not fit; empty where it does
    weight: float | str = 1.0  # a LoRA's

    @property
    def fits(self) -> bool:
        return not self.reason

    @property
    def sizes(self) -> str:
        return describe(self.part)

    @property
    def triggers(self) -> str:
        """The words that wake a LoRA, the most frequent first."""
        if self.part.slot != "lora" or self.part.trouble:
            return ""
        return ", ".join(self.part.shape.triggers[:SHOWN])


@dataclass(frozen=True)
class Options:
    slots: dict[str, list[Option]]
    chosen: dict[str, Part]
    loras: list[Part]
    upscaler_needed: str  # why the chosen base cannot go without one


def narrow(wish: Wish) -> Options:
    """Every part, held against the chosen ones of the other slots."""
    known = parts.all_parts()
    chosen = {
        part.slot: part
        for part in known
        if part.slot != "lora" and (key := wish.part(part.slot)) and part.named(key)
    }
    loras = [p for w in wish.loras for p in known if p.slot == "lora" and p.named(w.part)]
    slots: dict[str, list[Option]] = {slot: [] for slot in parts.SLOTS}
    for part in known:
        others = [one for slot, one in chosen.items() if slot != part.slot]
        if part.slot != "lora":
            others += loras
        slots[part.slot].append(_option(part, others, chosen, wish))
    base = chosen.get("base")
    return Options(slots, chosen, loras, fitting.needs_upscaler(base) if base else "")


def _option(part: Part, others: Sequence[Part], chosen: dict[str, Part], wish: Wish) -> Option:
    reason = fitting.misfit(part, others)
    if part.slot == "lora":
        weights = [lora.weight for lora in wish.loras if part.named(lora.part)]
        return Option(part, bool(weights), reason, weights[0] if weights else 1.0)
    return Option(part, chosen.get(part.slot) is part, reason)


def describe(part: Part) -> str:
    """A part's sizes for people; what matters for fitting first."""
    if part.trouble:
        return ""
    shape = part.shape
    if isinstance(shape, shapes.Prototype):
        labels = f"{shape.labels} labels" if shape.labels else "no labels"
        return f"{shape.resolution}×{shape.resolution}, w {shape.num_ws}×{shape.w_dim}, {labels}"
    if isinstance(shape, shapes.Base):
        return f"{shape.resolution}×{shape.resolution}, {shape.text} text channels"
    if isinstance(shape, shapes.Adapter):
        return f"for w {shape.num_ws}×{shape.w_dim} and {shape.text} text channels"
    if isinstance(shape, shapes.Lora):
        rank = f"rank {shape.rank}" if shape.rank else "rank not told"
        return f"{rank}, {shape.text} text channels" if shape.text else rank
    if isinstance(shape, shapes.Critic):
        return f"judges {shape.resolution}×{shape.resolution}"
    return f"{shape.factor} times larger"
