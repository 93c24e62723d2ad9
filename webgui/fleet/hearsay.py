"""Words from outside, made fit to be kept and shown."""

from __future__ import annotations

LONGEST = 2000


def clean(text: str, limit: int = LONGEST) -> str:
    """`text` on one line of at most `limit` printable characters. PostgreSQL takes no NUL, and
    nobody needs control characters or half a megabyte in a reason."""
    shown = "".join(char if char.isprintable() else " " for char in text[: limit + 1])
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
