"""What a release is made of, in words for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from webgui.registry import options, parameters, parts
from webgui.registry.models import Checkpoint, Release
from webgui.registry.parts import Part

from .compositions import LEGENDS
from .findings import facts

ONE = {**{slot: legend for slot, (legend, _) in LEGENDS.items()}, "lora": "LoRA"}


@dataclass(frozen=True)
class Making:
    """One part of a release, with where it came from."""

    label: str
    part: Part
    sizes: str
    weight: float | None = None
    checkpoint: Checkpoint | None = None
    source: Release | None = None
    origin: str = ""

    @property
    def files(self) -> tuple[Any, ...]:
        return self.part.files


def of(release: Release) -> list[Making]:
    """Its parts in the order of composing."""
    weights = iter([entry.get("weight") for entry in parts.lora_entries(release)])
    told = {
        (entry.get("slot"), entry.get("part")): entry
        for entry in release.manifest.get("provenance", {}).get("parts", ())
        if isinstance(entry, dict)
    }
    order = {slot: number for number, slot in enumerate(parts.SLOTS)}
    found = sorted(parts.of_release(release), key=lambda part: order[part.slot])
    return [_making(part, told.get((part.slot, part.digest), {}), weights) for part in found]


def _making(part: Part, told: dict[str, Any], weights: Iterator[Any]) -> Making:
    checkpoint = source = None
    if told.get("sha256"):
        checkpoint = Checkpoint.objects.filter(sha256=told["sha256"]).first()
    elif told.get("release"):
        source = Release.objects.filter(digest=told["release"]).first()
    return Making(
        ONE[part.slot],
        part,
        options.describe(part),
        next(weights, None) if part.slot == "lora" else None,
        checkpoint,
        source,
        str(told.get("title", "")),
    )


def summary(release: Release) -> str:
    """In a line: what is in it, and how large."""
    found = list(parts.of_release(release))
    loras = sum(part.slot == "lora" for part in found)
    told = []
    if loras:
        told.append("1 LoRA" if loras == 1 else f"{loras} LoRAs")
    told.append("adapter" if any(part.slot == "adapter" for part in found) else "no adapter")
    if tags := len(release.tags):
        told.append(f"{tags} tags")
    return ", ".join(told)


def numbers(release: Release) -> list[tuple[str, Any]]:
    """Its parameters by their labels; what workers take where it says nothing is marked so."""
    params = release.manifest.get("params", {})
    found: list[tuple[str, Any]] = [("Scheduler", params.get("scheduler", "euler"))]
    adapter = any(part.slot == "adapter" for part in parts.of_release(release))
    for name, parameter in parameters.PARAMETERS.items():
        if parameter.with_adapter and not adapter:
            continue
        found.append((parameter.label, params.get(name, f"{parameter.usual:g}, as usual")))
    if prefix := params.get("prefix"):
        found.append(("Before every caption", ", ".join(map(str, prefix))))
    if size := params.get("size"):
        found.append(("Pixels a side, at most", size))
    return found


def provenance(release: Release) -> list[tuple[str, str]]:
    told = dict(release.manifest.get("provenance", {}))
    for shown_elsewhere in ("parts", "credits"):
        told.pop(shown_elsewhere, None)
    for digest, source in dict(told.pop("sources", {})).items():
        told[f"From {source.get('title', '')} {digest[:12]}"] = {
            name: value for name, value in source.items() if name != "title"
        }
    return facts(told)


def measured(release: Release) -> list[tuple[str, str]]:
    return facts(release.manifest.get("measured", {}))
