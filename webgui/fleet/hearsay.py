"""Words from outside, made fit to be kept and shown."""

from __future__ import annotations

from typing import Any

LONGEST = 2000


def clean(text: str, limit: int = LONGEST) -> str:
    """`text` on one line of at most `limit` printable characters. PostgreSQL takes no NUL, and
    nobody needs control characters or half a megabyte in a reason."""
    shown = "".join(char if char.isprintable() else " " for char in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def clean_all(value: Any) -> Any:
    """Whatever JSON holds, with all its texts clean."""
    match value:
        case str():
            return clean(value)
        case dict():
            return {clean(key): clean_all(entry) for key, entry in value.items()}
        case list():
            return [clean_all(entry) for entry in value]
    return value
