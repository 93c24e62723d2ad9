"""One goes for all who came meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from webgui.together import Together


def test_who_comes_while_another_is_on_the_way_shares_the_next_way() -> None:
    ways: list[list[int]] = []
    away, back = threading.Event(), threading.Event()

    def go(numbers: Sequence[int]) -> list[int]:
        ways.append(list(numbers))
        if numbers[0] == 0:
            away.set()
            assert back.wait(10)
        return [10 * number for number in numbers]

    errand: Together[int, int] = Together(go, most=3)
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(errand.ask, 0)
        assert away.wait(10)
        others = [threads.submit(errand.ask, number) for number in range(1, 6)]
        while len(errand._line) < 5:
            pass
        assert ways == [[0]]
        back.set()
        wait(others)
    assert [first.result(), *(other.result() for other in others)] == [0, 10, 20, 30, 40, 50]
    assert [len(way) for way in ways] == [1, 3, 2]


def test_an_error_reaches_all_who_shared_the_way_and_no_later_one() -> None:
    def go(numbers: Sequence[int]) -> list[int]:
        if numbers[0] < 0:
            raise ValueError("no way")
        return list(numbers)

    errand: Together[int, int] = Together(go, most=3)
    with pytest.raises(ValueError, match="no way"):
        errand.ask(-1)
    assert errand.ask(1) == 1
    short: Together[int, int] = Together(lambda numbers: [], most=3)
    with pytest.raises(ValueError):
        short.ask(1)
