"""Counting what happens, in the database.

    tallies.count("orders", pool="toon")                       # in the transaction that does it
    tallies.add(("images_drawn", {"pool": "toon"}, 12), …)     # several in one statement
    tallies.add(*tallies.seen("avatar_score", scores, pool="toon"))
    tallies.count_later("claims_refused", code="throttled")    # where nothing else is written

What is counted within a transaction is counted if it happened and once only, whatever process did
it, and all web processes of all hosts tell the same. Rows are changed in the order of their keys,
so that two transactions cannot wait for each other here.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import connection

Entry = tuple[str, dict[str, str], float]
HELD_SECONDS = 5.0
ADD = """
INSERT INTO watching_tally (name, labels, value) VALUES {rows}
ON CONFLICT (name, labels) DO UPDATE SET value = watching_tally.value + excluded.value
"""
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class Kind:
    """Something that is counted; with `edges`, how its sizes are distributed: upper edges,
    inclusive."""

    about: str
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()


KINDS = {
    "claims": Kind("Avatars claimed, at once or from the line.", ("pool",)),
    "claims_refused": Kind("Claims refused, by the problem's code.", ("code",)),
    "tickets": Kind("Claims that met an empty buffer and wait in line.", ("pool",)),
    "tickets_settled": Kind("Tickets served, or expired.", ("pool", "outcome")),
    "ticket_wait_seconds": Kind("How long the served waited.", ("pool",), SECONDS),
    "orders": Kind("Batches ordered.", ("pool",)),
    "orders_reissued": Kind("Batches ordered again, of another worker.", ("pool",)),
    "order_failures": Kind("Attempts at an order that came to nothing.", ("pool", "reason")),
    "deliveries": Kind("Batches that arrived.", ("pool", "outcome")),
    "ingest_seconds": Kind("From opening a delivery to its rows.", ("pool",), SECONDS),
    "images_drawn": Kind("Images drawn for batches that arrived.", ("pool",)),
    "images_ingested": Kind("Images taken into the buffer.", ("pool",)),
    "image_bytes": Kind("Bytes of them, as they are kept.", ("pool",)),
    "avatar_score": Kind(
        "The critic's scores of images taken in.", ("pool",), tuple(n / 20 for n in range(1, 21))
    ),
    "jobs": Kind("Jobs that ended.", ("kind", "outcome")),
    "job_seconds": Kind("From asking for a job to its results.", ("kind",), SECONDS),
    "inspections": Kind("Checkpoints inspected, by verdict.", ("verdict",)),
    "alarms_raised": Kind("Alarms raised.", ("kind",)),
}


def count(name: str, by: float = 1, **labels: str) -> None:
    add((name, labels, by))


def add(*entries: Entry) -> None:
    sums: Counter[tuple[str, str]] = Counter()
    for name, labels, by in entries:
        sums[name, _canonical(name, labels)] += by  # type: ignore[assignment]
    rows = [(name, labels, by) for (name, labels), by in sorted(sums.items()) if by]
    if not rows:
        return
    with connection.cursor() as cursor:
        values = ", ".join(["(%s, %s, %s)"] * len(rows))
        cursor.execute(ADD.format(rows=values), [field for row in rows for field in row])


def seen(name: str, sizes: Iterable[float], **labels: str) -> Iterator[Entry]:
    """The entries of a distribution: how many fall under which edge, and, as if it were one more
    edge, their sum."""
    edges = KINDS[name].edges
    for size in sizes:
        place = bisect_left(edges, size)
        edge = f"{edges[place]:g}" if place < len(edges) else "+Inf"
        yield name, {**labels, "le": edge}, 1
        yield name, {**labels, "le": "sum"}, size


def _canonical(name: str, labels: dict[str, str]) -> str:
    kind = KINDS[name]
    known = {*kind.labels, *(("le",) if kind.edges else ())}
    if set(labels) != known:
        raise ValueError(f"{name} is counted by {sorted(known)}, not by {sorted(labels)}")
    return json.dumps({key: str(labels[key])[:63] for key in sorted(labels)})


class _Held:
    """Counts of this process that wait to be written. Where a thousand claims a second are refused
    since no worker is there, one row that each of them writes would be the next thing to fail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._due = 0.0

    def count(self, name: str, **labels: str) -> None:
        with self._lock:
            self._counts[name, _canonical(name, labels)] += 1
            due = time.monotonic() >= self._due
        if due:
            self.write()

    def write(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, Counter()
            self._due = time.monotonic() + HELD_SECONDS
        add(*((name, json.loads(labels), by) for (name, labels), by in counts.items()))


_held = _Held()
count_later = _held.count
write_held = _held.write
