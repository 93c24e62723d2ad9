"""A job's states: every arrow that there is, and none that there is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from generator_worker.contract import CANCEL_JOB, RUN_JOB, JobFailed, cancel_queue, live_queue
from tests.webgui.making import make_batch, make_worker
from tests.webgui.studio.making import asked, draft, progress
from webgui.buffer.models import Batch
from webgui.fleet.models import Worker
from webgui.studio import grid, jobs
from webgui.studio.models import Job, Preview

pytestmark = pytest.mark.django_db
State = Job.State


def fresh(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def sent_to(sent: list, task: str) -> list[tuple[str, int]]:
    """(queue, attempt) of the messages of one kind."""
    return [(queue, message.get("attempt", 0)) for name, message, queue in sent if name == task]


def failure(job: Job, reason: str = "CUDA out of memory", **changes: Any) -> JobFailed:
    fields = {"job_id": job.pk, "worker": job.worker, "attempt": job.attempt, "reason": reason}
    return JobFailed(**(fields | changes))


def expire(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(deadline=timezone.now() - timedelta(seconds=1))


def silence(name: str) -> None:
    Worker.objects.filter(name=name).update(last_seen=timezone.now() - timedelta(minutes=5))


def is_idle(name: str, after: float = 11) -> None:
    """So many seconds from now it says so."""
    heard = timezone.now() + timedelta(seconds=after)
    Worker.objects.filter(name=name).update(activity="idle", last_seen=heard)


def test_a_job_goes_to_a_worker_by_its_live_queue(worker, sent):
    job = asked().job
    assert (job.state, job.worker, job.attempt) == (State.QUEUED, "w1", 1)
    assert sent_to(sent, RUN_JOB) == [(live_queue("w1"), 1)]
    message = sent[0][1]
    assert (message["kind"], message["release_digest"]) == ("preview", job.release.digest)
    assert message["params"]["seeds"] == list(range(1, 17))


def test_without_a_worker_it_waits_and_goes_to_the_first_that_comes(sent):
    job = asked().job
    assert (job.worker, job.attempt, sent) == ("", 0, [])
    assert jobs.reconcile() == 0
    make_worker("late")
    assert jobs.reconcile() == 1
    assert sent_to(sent, RUN_JOB) == [(live_queue("late"), 1)]
    assert jobs.reconcile() == 0  # it has its worker


def test_jobs_spread_over_the_workers(sent):
    make_worker("w1")
    make_worker("w2")
    names = [asked(draft(name)).job.worker for name in ("one", "two")]
    assert sorted(names) == ["w1", "w2"]


def test_where_a_release_is_faulty_a_healthy_worker_gets_it_and_else_any(sent):
    release = draft()
    faulty = [{"release_digest": release.digest, "reason": "NaN", "failures": 3}]
    make_worker("w1", faulty=faulty)
    healthy = make_worker("w2")
    job = asked(release).job
    assert job.worker == "w2"
    jobs.cancel(job)
    healthy.delete()
    assert asked(release).job.worker == "w1"


def test_nobody_off_duty_gets_it(sent):
    make_worker("w1", duty="maintenance")
    preview = asked()
    assert preview.job.worker == ""
    assert grid.note(preview) == "No worker is at work right now. It goes on as soon as one is."


def test_a_sign_of_life_makes_it_running_and_moves_the_deadline(worker):
    job = asked().job
    expire(job)
    assert jobs.record(progress(job, step=4, note="drawing 4 of 16\x00"))
    job = fresh(job)
    assert (job.state, job.step, job.of, job.note) == (State.RUNNING, 4, 16, "drawing 4 of 16 ")
    assert job.fraction == 0.25
    assert job.deadline > timezone.now() + timedelta(seconds=30)
    begun = job.started_at
    assert jobs.record(progress(job, step=5))
    assert fresh(job).started_at == begun


def test_a_worker_that_does_not_have_it_tells_nothing(worker):
    job = asked().job
    assert not jobs.record(progress(job, worker="stranger"))
    assert not jobs.refused(failure(job, worker="stranger"))
    assert fresh(job).state == State.QUEUED


def test_progress_of_a_settled_job_changes_nothing(worker):
    job = asked().job
    jobs.cancel(job)
    assert not jobs.record(progress(job))
    assert fresh(job).state == State.CANCELLED


@pytest.mark.parametrize("how", ["not begun", "silent worker", "stuck", "not arrived", "idle"])
def test_a_lost_job_goes_to_another_worker(how, sent):
    make_worker("w1")
    job = asked().job
    make_worker("w2")
    if how in ("stuck", "not arrived"):
        jobs.record(progress(job, step=16 if how == "not arrived" else 3))
    {"silent worker": lambda: silence("w1"), "idle": lambda: is_idle("w1")}.get(
        how, lambda: expire(job)
    )()
    assert jobs.reconcile() == 1
    job = fresh(job)
    assert (job.state, job.worker, job.attempt, job.step) == (State.QUEUED, "w2", 2, 0)
    assert job.tried == ["w1", "w2"]
    assert (
        job.reason
        == {
            "not begun": "w1 did not begin it in 300 s.",
            "silent worker": "w1 fell silent.",
            "stuck": "w1 gave no sign of it for 45 s.",
            "not arrived": "w1 finished it, and what it made did not arrive.",
            "idle": "w1 went on without it.",
        }[how]
    )
    assert sent_to(sent, RUN_JOB) == [(live_queue("w1"), 1), (live_queue("w2"), 2)]


def test_begun_and_then_idle_it_goes_to_another_worker(sent):
    make_worker("w1")
    job = asked().job
    make_worker("w2")
    jobs.record(progress(job, step=3))
    is_idle("w1", after=9)  # it may have said so before it began
    assert jobs.reconcile() == 0
    is_idle("w1")
    assert jobs.reconcile() == 1
    assert fresh(job).worker == "w2"


def test_a_worker_that_draws_a_later_order_has_not_heard_of_it(pool, sent):
    make_worker("w1", activity="busy")
    job = asked().job
    make_worker("w2")
    start, now = timedelta(seconds=settings.JOB_START_SECONDS), timezone.now()
    Job.objects.filter(pk=job.pk).update(deadline=now + start - timedelta(seconds=20))
    older, younger = (now - timedelta(seconds=age) for age in (25, 15))
    order = make_batch(pool, worker="w1", ordered_at=older, progress_at=now)
    assert jobs.reconcile() == 0  # that one was there before it
    make_batch(pool, worker="w1", ordered_at=younger)
    assert jobs.reconcile() == 0  # and this one waits, as it does
    Batch.objects.exclude(pk=order.pk).update(progress_at=now)
    assert jobs.reconcile() == 1
    assert fresh(job).worker == "w2"


def test_finished_and_idle_is_not_lost(worker):
    job = asked().job
    jobs.record(progress(job, step=16))
    is_idle("w1")
    assert jobs.reconcile() == 0
    assert fresh(job).worker == "w1"


def test_a_refusal_is_another_attempt_and_the_third_is_the_last(sent):
    make_worker("w1")
    make_worker("w2")
    job = asked().job
    for attempt in (1, 2, 3):
        job = fresh(job)
        assert (job.state, job.attempt) == (State.QUEUED, attempt)
        assert jobs.refused(failure(job))
        jobs.reconcile()
    job = fresh(job)
    assert job.state == State.FAILED
    assert len(set(job.tried[:2])) == 2  # the other one first
    assert job.reason == f"{job.worker}: CUDA out of memory"
    preview = Preview.objects.get(pk=job.pk)
    assert preview.verdict == Preview.Verdict.BAD
    assert preview.reasons[0]["code"] == "failed"
    assert "Tried 3 times, and failed: " in preview.reasons[0]["text"]
    assert "CUDA out of memory" in preview.reasons[0]["text"]
    assert job.release.state == "draft"
    assert len(sent_to(sent, RUN_JOB)) == 3


def test_one_worker_gets_all_three_attempts_if_there_is_no_other(worker):
    job = asked().job
    for _ in range(3):
        expire(job)
        jobs.reconcile()
    job = fresh(job)
    assert (job.state, job.tried) == (State.FAILED, ["w1", "w1", "w1"])


def test_a_refusal_of_an_earlier_attempt_is_passed_over(worker):
    job = asked().job
    first = failure(job)
    expire(job)
    jobs.reconcile()
    assert fresh(job).attempt == 2
    assert not jobs.refused(first)
    assert fresh(job).state == State.QUEUED


def test_whoever_decided_by_an_older_look_changes_nothing(worker):
    """Two clocks find the same job overdue, and between their looks it gives a sign of life."""
    job = asked().job
    expire(job)
    looked = fresh(job)
    jobs.record(progress(job))
    assert not jobs._next_attempt(looked, "too late")
    assert not jobs.fail(looked, "too late")
    assert fresh(job).state == State.RUNNING


def test_a_job_is_placed_once_though_two_clocks_do_it(sent):
    job = asked().job
    make_worker("w1")
    twin = fresh(job)
    assert jobs.place(job)
    assert not jobs.place(twin)
    assert sent_to(sent, RUN_JOB) == [(live_queue("w1"), 1)]


def test_no_worker_for_an_hour_ends_the_waiting(sent):
    job = asked().job
    Job.objects.update(created_at=F("created_at") - timedelta(minutes=61))
    jobs.reconcile()
    job = fresh(job)
    assert job.state == State.FAILED
    assert job.reason.startswith("No worker was there for it")
    assert Preview.objects.get(pk=job.pk).reasons[0]["text"] == job.reason


@pytest.mark.parametrize("running", [False, True])
def test_calling_it_off_tells_the_worker(worker, sent, running):
    job = asked().job
    if running:
        jobs.record(progress(job))
    assert jobs.cancel(job)
    assert job.state == State.CANCELLED
    assert sent_to(sent, CANCEL_JOB) == [(cancel_queue("w1"), 0)]
    assert not jobs.cancel(job)
    assert not jobs.refused(failure(job))
    jobs.reconcile()
    assert fresh(job).state == State.CANCELLED


def test_calling_off_what_no_worker_has_rings_nobody(sent):
    assert jobs.cancel(asked().job)
    assert sent == []
