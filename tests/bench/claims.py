"""Claims over HTTP on PostgreSQL, against a view of the same server that does nothing."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from tests.bench.load import Load, asking, press, request
from tests.bench.processes import manage
from tests.bench.rows import Bar, Row, Size, by_turns
from tests.bench.service import serving

CLIENTS = 16


def run(folder: Path, size: Size) -> list[Row]:
    visits, repeats = size(1500, 40), size(7, 2)
    with serving(folder) as web:
        manage(web.env, "stock", str(visits * (repeats + 1) + 100))
        claim = asking(request("POST", "/api/v1/avatars/", b'{"pool": "toon"}'), 201)
        bare = asking(request("POST", "/constant/", b'{"pool": "toon"}'), 201)
        for warm_up in (claim, bare):
            press(web.port, warm_up, CLIENTS, visits)
        ours, reference = by_turns(
            repeats,
            lambda: press(web.port, claim, CLIENTS, visits),
            lambda: press(web.port, bare, CLIENTS, visits),
        )
    what = f"{CLIENTS} clients, PostgreSQL; against a bare view of the same server"
    return [
        Row(
            f"POST avatars/, {what}",
            _rate(ours),
            _rate(reference),
            "requests/s",
            Bar("≥", 0.5),
        ),
        Row(
            f"POST avatars/, p99, {what}",
            _p99(ours),
            _p99(reference),
            "ms",
            Bar("≤", 4),
        ),
    ]


def _rate(loads: list[Load]) -> float:
    return median(load.rate for load in loads)


def _p99(loads: list[Load]) -> float:
    return 1000 * median(load.percentile(0.99) for load in loads)
