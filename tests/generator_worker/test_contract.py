"""What crosses the wire: old messages stay readable, wrong ones are told apart and named."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from generator_worker.contract import (
    ContractError,
    Duty,
    FaultyRelease,
    Finding,
    Heartbeat,
    State,
    live_queue,
    worker_queue,
)

OLD = {
    "contract": 1,
    "worker": "painter",
    "software": "stylediffuser 0.1.0",
    "device": "cpu",
    "memory_bytes": 2**34,
    "loaded": ["a" * 64],
    "outbox": 1,
    "images_per_minute": 12.5,
}


def test_a_heartbeat_without_the_newer_fields_is_read():
    beat = Heartbeat.read(OLD)
    assert (beat.duty, beat.state) == (Duty.WORKING, State.IDLE)
    assert (beat.findings, beat.faulty, beat.speeds, beat.clock) == ((), (), {}, None)


def test_a_full_heartbeat_survives_the_wire():
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    beat = Heartbeat(
        **OLD,
        duty=Duty.DRAINING,
        state=State.DRAINED,
        findings=(Finding(check="disk", level="failure", detail="full", advice="make room"),),
        faulty=(FaultyRelease(release_digest="b" * 64, reason="NaN", failures=3, since=now),),
        speeds={"a" * 64: 1.5},
        clock=now,
        failures={"out-of-memory": 2},
        gpu_use=0.5,
    )
    assert Heartbeat.read(json.loads(json.dumps(beat.wire()))) == beat


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("duty", "asleep"),
        ("clock", "2026-01-02T03:04:05"),  # nobody knows in which time zone
        ("speeds", {"a" * 64: float("nan")}),
        ("speeds", {"toon": 1.0}),
        ("failures", {"Out of memory": 1}),
        ("gpu_use", 2),
    ],
)
def test_nonsense_in_a_heartbeat_is_named(field, value):
    with pytest.raises(ContractError, match=rf"Heartbeat: {field}"):
        Heartbeat.read({**OLD, field: value})


def test_a_worker_has_two_queues_of_its_own():
    assert (live_queue("painter"), worker_queue("painter")) == (
        "worker.painter.live",
        "worker.painter",
    )
