"""Every end a job may come to: spooled, refused with a reason, called off."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from generator_worker import jobs
from generator_worker.cancelling import Cancelled
from generator_worker.contract import JOB_FAILED, JOB_PROGRESS, Duty, JobManifest, RunJob
from generator_worker.jobs import carry_out
from generator_worker.journal import MAX_STARTS

DIGEST = "0" * 64


class Cancellations:
    """Calls the job off after so many looks."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.looks = 0
        self.ended = 0

    def check(self, job_id: UUID) -> None:
        self.looks += 1
        if self.after is not None and self.looks > self.after:
            raise Cancelled

    def over(self) -> None:
        self.ended += 1


def asked(**changes) -> RunJob:
    given = {
        "job_id": uuid4(),
        "attempt": 2,
        "kind": "preview",
        "release_digest": DIGEST,
        "params": {"seeds": list(range(1000, 1016)), "tags": []},
    }
    return RunJob(**(given | changes))


def test_what_a_job_brought_is_spooled_whole(workshop, post):
    job, cancellations = asked(), Cancellations()
    assert carry_out(workshop, cancellations, job)
    manifest = workshop.outbox.manifest(job.job_id)
    assert isinstance(manifest, JobManifest)
    assert (manifest.job_id, manifest.kind, manifest.worker) == (job.job_id, "preview", "painter")
    assert (manifest.release_digest, manifest.params) == (DIGEST, job.params)
    assert len(manifest.images) == 16
    assert manifest.report["benign"] == 15
    assert workshop.outbox.waiting() == [job.job_id]
    assert cancellations.ended == 1
    assert workshop.journal.starts(job.job_id) == 0
    told = post.named(JOB_PROGRESS)
    assert (told[0]["step"], told[0]["of"]) == (0, jobs.STEPS)
    assert told[-1]["step"] == told[-1]["of"]
    assert all(one["step"] < one["of"] for one in told[:-1])  # else the server would wait for files


def test_asked_again_for_what_is_done_it_does_nothing(workshop, release):
    job = asked()
    carry_out(workshop, Cancellations(), job)
    made = len(release.asked)
    assert not carry_out(workshop, Cancellations(), job)
    workshop.outbox.settle(job.job_id)
    assert not carry_out(workshop, Cancellations(), asked(job_id=job.job_id, attempt=3))
    assert len(release.asked) == made


@pytest.mark.parametrize("looks", [0, 1, 15])
def test_a_job_called_off_leaves_nothing_and_says_nothing(workshop, post, looks):
    job, cancellations = asked(), Cancellations(after=looks)
    assert not carry_out(workshop, cancellations, job)
    assert workshop.outbox.waiting() == []
    assert list((workshop.config.home / "outbox" / "making").glob("*")) == []
    assert post.named(JOB_FAILED) == []
    assert (cancellations.looks, cancellations.ended) == (looks + 1, 1)
    assert workshop.journal.starts(job.job_id) == 0


def refusal(workshop, post, job) -> dict:
    assert not carry_out(workshop, Cancellations(), job)
    (failed,) = post.named(JOB_FAILED)
    assert (failed["job_id"], failed["attempt"]) == (str(job.job_id), job.attempt)
    assert workshop.outbox.waiting() == []
    assert workshop.journal.starts(job.job_id) == 0
    return failed


def test_a_fault_of_the_model_is_told_with_its_kind(workshop, post, release, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("expected scalar type Half")

    monkeypatch.setattr(release, "generate", broken)
    failed = refusal(workshop, post, asked())
    assert failed["reason"] == "RuntimeError: expected scalar type Half"
    assert failed["kind"] == "drawing-fault"


def test_a_release_that_is_faulty_here_is_tried_and_forgiven_where_it_works(workshop):
    for _ in range(3):
        workshop.faulty.failed(DIGEST, "NaN")
    assert workshop.faulty.fault(DIGEST)
    assert carry_out(workshop, Cancellations(), asked())
    assert not workshop.faulty.fault(DIGEST)


def test_three_previews_that_fail_make_a_release_faulty_here(workshop, post, release, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(release, "generate", broken)
    for _ in range(3):
        assert not carry_out(workshop, Cancellations(), asked())
    assert workshop.faulty.fault(DIGEST).reason == "RuntimeError: shapes differ"


def test_nothing_is_begun_in_maintenance(workshop, post, release):
    workshop.duty.write(Duty.MAINTENANCE)
    assert refusal(workshop, post, asked())["kind"] == "maintenance"
    assert release.asked == []


def test_one_that_takes_too_long_is_told_so(workshop, post, release, monkeypatch):
    def slow(*args, **options):
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(release, "generate", slow)
    failed = refusal(workshop, post, asked())
    assert (failed["kind"], "longer than a task may" in failed["reason"]) == ("too-long", True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "portrait"}, "knows no jobs of kind 'portrait': upgrade it"),
        ({"release_digest": "a" * 64}, "does not have release aaaaaaaaaaaa"),
        ({"params": {"seeds": []}}, "params cannot be read"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(workshop, post, changes, says):
    assert says in refusal(workshop, post, asked(**changes))["reason"]


def test_a_job_that_kills_its_process_is_given_up(workshop, post, release, monkeypatch):
    job = asked()

    class Killed(BaseException):
        """What a SIGKILL looks like from here: no handler runs."""

    def die(*args, **options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(release, "generate", die)
        for _ in range(MAX_STARTS):
            with pytest.raises(Killed):
                carry_out(workshop, Cancellations(), job)
    assert "died 3 times at this job" in refusal(workshop, post, job)["reason"]


def test_a_server_that_cannot_be_told_stops_no_work(workshop, post):
    post.broken = ConnectionError("broker away")
    job = asked()
    assert carry_out(workshop, Cancellations(), job)
    assert workshop.outbox.holds(job.job_id)
