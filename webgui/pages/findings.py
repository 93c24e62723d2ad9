"""What inspection found, in words for administrators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from django.template.defaultfilters import filesizeformat

from webgui.registry.models import Checkpoint, Release

State = Checkpoint.State


class Word(TypedDict):
    """A state: its name, what it means, and which colour it has (good, busy or bad)."""

    name: str
    what: str
    mood: str


# The page's script reads them too.
WORDS: dict[str, Word] = {
    State.UPLOADING: {
        "name": "Uploading",
        "what": "Not all of the file is here. Choose the same file on the upload page to go on.",
        "mood": "busy",
    },
    State.INSPECTING: {
        "name": "Inspecting",
        "what": "It is being looked at, without anything of it being run, and converted.",
        "mood": "busy",
    },
    State.READY: {
        "name": "Ready",
        "what": "Converted to safetensors and JSON; workers will only ever see that. It can become "
        "part of a release.",
        "mood": "good",
    },
    State.UNSUPPORTED: {
        "name": "Unsupported",
        "what": "Nothing is wrong with the file as such, but it cannot be used here.",
        "mood": "bad",
    },
    State.CORRUPT: {
        "name": "Corrupt",
        "what": "The file is damaged, or could not be read in time. Upload a whole copy.",
        "mood": "bad",
    },
    State.UNSAFE: {
        "name": "Refused as unsafe",
        "what": "Loading the file would have run somebody's code. It was removed; ask its author "
        "for safetensors.",
        "mood": "bad",
    },
    State.INCOMPATIBLE: {
        "name": "Incompatible",
        "what": "A known kind of model, but one whose parts do not fit.",
        "mood": "bad",
    },
}
KINDS = {
    "stylegan2": "StyleGAN2 generator",
    "base": "Stable Diffusion base",
    "lora": "LoRA",
    "pipeline": "StyleDiffuser pipeline",
    "prototype": "Prototype",
    "adapter": "Adapter",
    "critic": "Critic",
    "upscaler": "Upscaler",
    "release": "Release bundle",
}
# In this order; whatever else a report has comes after them.
LABELS = {
    "architecture": "Architecture",
    "family": "Base-model family",
    "resolution": "Resolution",
    "conditioning": "Conditioning",
    "parameters": "Parameters",
    "dtype": "Number format",
    "rank": "Rank",
    "alpha": "Alpha",
    "targets": "Targets",
    "trigger_words": "Trigger words",
    "licence": "Licence",
}
SHOWN_ELSEWHERE = ("inspection", "network", "kind", "accepted", "what")
LONGEST = 600


@dataclass(frozen=True)
class Card:
    checkpoint: Checkpoint
    word: Word
    kind: str
    summary: str
    percent: int | None  # while uploading
    used_by: list[Release]


def card(checkpoint: Checkpoint, used_by: list[Release]) -> Card:
    upload = checkpoint.uploads.first() if checkpoint.state == State.UPLOADING else None
    return Card(
        checkpoint,
        WORDS[checkpoint.state],
        KINDS.get(checkpoint.kind, checkpoint.kind),
        _summary(checkpoint),
        100 * upload.offset // max(1, upload.length) if upload else None,
        used_by,
    )


def _summary(checkpoint: Checkpoint) -> str:
    report = checkpoint.report
    parts = [KINDS.get(checkpoint.kind, checkpoint.kind)]
    if resolution := report.get("resolution"):
        parts.append(f"{resolution}×{resolution}")
    if family := report.get("family"):
        parts.append(str(family))
    if rank := report.get("rank"):
        parts.append(f"rank {rank}")
    parts.append(filesizeformat(checkpoint.size))
    return " · ".join(part for part in parts if part)


def facts(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What the report knows, as pairs to be shown. What is unknown is left out."""
    known = {
        key: value
        for key, value in report.items()
        if key not in SHOWN_ELSEWHERE and value not in (None, "", [], {})
    }
    order = [key for key in LABELS if key in known] + [key for key in known if key not in LABELS]
    return [(LABELS.get(key, _label(key)), _fact(key, known[key])) for key in order]


def _fact(key: str, value: Any) -> str:
    if key == "resolution":
        return f"{value} × {value}"
    if key == "conditioning" and isinstance(value, dict):
        return _joined(_condition(str(by), size) for by, size in value.items() if size is not None)
    return _told(value)


def _condition(by: str, size: Any) -> str:
    """What steers it: how many classes it knows, or how wide the text is that it reads."""
    if by == "label":
        return f"{size:,} labels" if size else "no labels"
    return f"{size:,} text channels" if by == "text" else f"{_label(by).lower()} {_told(size)}"


def _label(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _told(value: Any) -> str:
    text = _plain(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return _joined(f"{_label(str(key)).lower()} {_plain(one)}" for key, one in value.items())
    if isinstance(value, list):
        return _joined(_plain(one) for one in value)
    return str(value)


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)
