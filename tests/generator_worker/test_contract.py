"""What crosses the wire: old messages stay readable, wrong ones are told apart and named."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from generator_worker.contract import (
    ContractError,
    Duty,
    FaultyRelease,
    Finding,
    Heartbeat,
    JobDelivered,
    JobFailed,
    JobManifest,
    JobProgress,
    PartEffect,
    PreviewParams,
    PreviewReport,
    RunJob,
    State,
    UnknownContract,
    job_folder,
    own_queues,
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


def test_a_worker_has_queues_of_its_own():
    assert own_queues("painter") == (
        "worker.painter.live",
        "worker.painter",
        "worker.painter.cancel",
    )


JOB = UUID("00000000-0000-4000-8000-000000000001")
ANSWER = {"contract": 1, "job_id": str(JOB), "worker": "painter"}


def test_a_job_and_its_answers_survive_the_wire():
    params = PreviewParams(seeds=(1, 2), tags=("smiling",)).model_dump(mode="json")
    messages = (
        RunJob(job_id=JOB, attempt=2, kind="preview", release_digest="a" * 64, params=params),
        JobProgress(job_id=JOB, worker="painter", step=3, of=16, note="drawing"),
        JobFailed(job_id=JOB, worker="painter", attempt=2, reason="out of memory"),
        JobDelivered(job_id=JOB, worker="painter", count=16, bytes=2**20),
    )
    for message in messages:
        assert type(message).read(json.loads(json.dumps(message.wire()))) == message
    assert PreviewParams.model_validate(messages[0].wire()["params"]).seeds == (1, 2)


def test_what_a_job_brings_is_told_from_a_batch_by_its_folder():
    assert job_folder(JOB) == "job-00000000-0000-4000-8000-000000000001"


def test_a_job_of_another_contract_is_refused_before_anything_else():
    with pytest.raises(UnknownContract, match="RunJob speaks contract 2"):
        RunJob.read({"contract": 2, "whatever": True})


@pytest.mark.parametrize(
    ("message", "changes", "where"),
    [
        (JobProgress, {"step": 17, "of": 16}, "step 17 of 16"),
        (JobProgress, {"step": 0, "of": 0}, "of: "),
        (JobProgress, {"step": 1, "of": 2, "fraction": 0.5}, "fraction"),
        (JobFailed, {"reason": "x" * 2001}, "reason"),
        (JobFailed, {"reason": "x", "worker": "../painter"}, "worker"),
        (JobDelivered, {"count": -1, "bytes": 0}, "count"),
        (RunJob, {"kind": "Pre view", "release_digest": "a" * 64}, "kind"),
    ],
)
def test_nonsense_in_a_jobs_messages_is_named(message, changes, where):
    with pytest.raises(ContractError, match=where):
        message.read({**ANSWER, **changes})


REPORT = {
    "device": "cpu",
    "load_seconds": 1.5,
    "first_seconds": 2.0,
    "seconds_per_image": 0.5,
    "peak_memory_bytes": 2**30,
    "min_score": 0.7,
    "benign": 14,
    "kept": 13,
    "curation": "2 below the critic's threshold, 1 near-duplicate",
}


def test_a_part_that_changes_nothing_but_rounding_is_known():
    effects = [
        PartEffect(part=name, kind="lora", largest=largest, mean=0.1)
        for name, largest in (("toon", 80), ("empty", 0), ("faint", 1), ("slight", 2))
    ]
    report = PreviewReport(**REPORT, parts=tuple(effects))
    assert [part.part for part in report.parts if part.changes_nothing] == ["empty", "faint"]


def test_what_a_job_brings_is_listed_as_strictly_as_a_batch():
    entry = {
        "file": "1.png",
        "sha256": "b" * 64,
        "bytes": 1,
        "width": 512,
        "height": 512,
        "seed": 1,
        "score": 0.9,
        "safety": 0.0,
        "tags": ["smiling"],
    }
    manifest = {
        **ANSWER,
        "kind": "preview",
        "release_digest": "a" * 64,
        "software": "stylediffuser 0.1.0",
        "created": "2026-01-02T03:04:05Z",
        "images": [entry],
        "report": REPORT,
    }
    assert JobManifest.read(manifest).images[0].seed == 1
    with pytest.raises(ContractError, match=r"images\.0\.file"):
        JobManifest.read({**manifest, "images": [{**entry, "file": "../1.png"}]})
