"""Counting in the database: exact, by whichever process, once."""

from __future__ import annotations

import json
import threading

import pytest
from django.db import connection, transaction

from webgui.watching import tallies
from webgui.watching.models import Tally


def counted(name: str) -> dict[str, float]:
    """By the values of the labels."""
    rows = Tally.objects.filter(name=name).values_list("labels", "value")
    return {"/".join(json.loads(labels).values()): value for labels, value in rows}


@pytest.mark.django_db
def test_the_same_labels_are_one_row_and_others_another() -> None:
    tallies.count("deliveries", pool="toon", outcome="ingested")
    tallies.add(
        ("deliveries", {"outcome": "ingested", "pool": "toon"}, 2),
        ("deliveries", {"outcome": "ingested", "pool": "toon"}, 1),
        ("deliveries", {"outcome": "quarantined", "pool": "toon"}, 1),
        ("images_drawn", {"pool": "toon"}, 0),
    )
    assert counted("deliveries") == {"ingested/toon": 4, "quarantined/toon": 1}
    assert counted("images_drawn") == {}


@pytest.mark.django_db
def test_what_is_rolled_back_is_not_counted() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        tallies.count("orders", pool="toon")
        raise ZeroDivisionError
    assert counted("orders") == {}


@pytest.mark.django_db
def test_a_distribution_keeps_its_edges_and_its_sum() -> None:
    tallies.add(*tallies.seen("ticket_wait_seconds", [0.1, 0.2, 700], pool="toon"))
    assert counted("ticket_wait_seconds") == {
        "0.1/toon": 1,
        "0.25/toon": 1,
        "+Inf/toon": 1,
        "sum/toon": pytest.approx(700.3),
    }


def test_names_and_labels_are_known_ones() -> None:
    with pytest.raises(KeyError):
        tallies.count("visitors")
    with pytest.raises(ValueError, match="counted by"):
        tallies.count("orders", worker="w1")


@pytest.mark.django_db
def test_what_is_held_back_is_written_some_seconds_later(monkeypatch) -> None:
    held = tallies._Held()
    for _ in range(5):
        held.count("claims_refused", code="line_full")
    assert counted("claims_refused") == {"line_full": 1}
    monkeypatch.setattr(held, "_due", 0.0)
    held.count("claims_refused", code="line_full")
    assert counted("claims_refused") == {"line_full": 6}


@pytest.mark.django_db(transaction=True)
def test_processes_that_count_at_once_lose_nothing() -> None:
    def many() -> None:
        try:
            for _ in range(25):
                with transaction.atomic():
                    tallies.add(
                        ("orders", {"pool": "b"}, 1), ("orders", {"pool": "a"}, 1),
                        ("images_drawn", {"pool": "a"}, 2),
                    )  # fmt: skip
        finally:
            connection.close()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted("orders") == {"a": 100, "b": 100}
    assert counted("images_drawn") == {"a": 200}
