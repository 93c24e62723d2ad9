"""What strangers say becomes one printable line of bounded length."""

from __future__ import annotations

import pytest

from webgui.fleet.hearsay import clean


@pytest.mark.parametrize("text", ["", "Made with 2 × “ü”.", "x" * 2000])
def test_plain_words_stay(text: str) -> None:
    assert clean(text) == text


def test_what_no_database_or_terminal_wants_is_blanked() -> None:
    assert clean("a\0b\x1b[31mc\nd\u202ee\ud800f") == "a b [31mc d e f"


def test_it_ends_somewhere() -> None:
    assert clean("x" * 10**6) == "x" * 1999 + "…"
    assert clean("abcdef", 4) == "abc…"
