"""What was done to a pool, told from the audit log in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webgui.accounts.models import AuditEntry

# What becomes of old images: the choice, and what is told of it afterwards.
OLD_STOCK = {
    "mix": (
        "At random with the others",
        "Visitors get either, until these are used up.",
    ),
    "keep": (
        "Before all others",
        "Visitors get others only once none of these is left that fits what they ask for.",
    ),
    "discard": (
        "Not at all: discard them",
        "Where the buffer is empty then, visitors wait in line until new ones are made. They come "
        "back if the pool returns to their release.",
    ),
}
TOLD = {"mix": "old images at random with new ones", "keep": "old images first", "discard": ""}
EDITED = {
    "name": "name",
    "low_watermark": "low watermark",
    "high_watermark": "high watermark",
    "batch_size": "batch size",
    "paused": "paused",
}


@dataclass(frozen=True)
class Line:
    at: datetime
    who: str
    what: str
    digest: str  # of the release it is about, if any
    more: str


def lines(entries: Iterable[AuditEntry]) -> list[Line]:
    return [_line(entry) for entry in entries]


def _line(entry: AuditEntry) -> Line:
    details = entry.details
    what = _what(entry.act, details)
    who = f"{entry.actor} (token {entry.token}…)" if entry.token else entry.actor
    return Line(entry.at, who, what, str(details.get("release", "")), _more(details))


def _what(act: str, details: dict[str, Any]) -> str:
    if act == "pool.edited":
        return f"Changed: {_changes(details)}"
    title = details.get("title", "")
    return {
        "pool.created": f"Opened with {title}",
        "pool.activated": f"Given {title}",
        "pool.rolled_back": f"Rolled back to {title}",
        "pool.canary_started": f"Tries {title} on {details.get('share')} % of the orders",
        "pool.canary_promoted": f"Given its canary {title}",
        "pool.canary_stopped": f"Tries {title} no more",
        "pool.paused": "Paused",
        "pool.resumed": "Resumed",
    }.get(act, act)


def _changes(details: dict[str, Any]) -> str:
    told = (
        f"{EDITED[name]} {pair[0]} → {pair[1]}" for name, pair in details.items() if name in EDITED
    )
    return ", ".join(told)


def _more(details: dict[str, Any]) -> str:
    images = details.get("images", {})
    parts = [
        f"in place of {before}" if (before := details.get("before_title")) else "",
        TOLD.get(details.get("old_stock", ""), ""),
        _images(images.get("discarded", 0), "discarded"),
        _images(images.get("brought_back", 0), "brought back"),
    ]
    return "; ".join(part for part in parts if part)


def _images(count: int, what: str) -> str:
    return f"{count} image{'' if count == 1 else 's'} {what}" if count else ""
