"""Signs of life: often enough, not too often, and heard from the other side."""

from __future__ import annotations

import time

import pytest

from generator_worker import signs
from generator_worker.signs import Signs


@pytest.fixture
def told():
    return []


@pytest.fixture
def tell(told):
    return lambda fraction, note: told.append((fraction, note))


def test_about_once_a_second(told, tell, monkeypatch):
    now = [50.0]
    monkeypatch.setattr(signs.time, "monotonic", lambda: now[0])
    tells = Signs(tell)
    for fraction in (0.1, 0.2, 0.3):
        tells(fraction, "drawing")
        now[0] += 0.6
    assert told == [(0.1, "drawing"), (0.3, "drawing")]


def test_a_long_silence_is_filled_and_ends(told, tell, monkeypatch):
    monkeypatch.setattr(signs, "QUIET_SECONDS", 0.01)
    tells = Signs(tell)
    tells(0.0, "loading")
    with tells.kept_up():
        deadline = time.monotonic() + 5
        while len(told) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert told[:3] == [(0.0, "loading")] * 3
    count = len(told)
    time.sleep(0.05)
    assert len(told) == count


def test_what_is_not_wanted_any_more_ends_at_the_next_step(told, tell):
    def unwanted():
        raise RuntimeError("called off")

    with pytest.raises(RuntimeError, match="called off"):
        Signs(tell, unwanted)(0.5, "drawing")
    assert told == []
