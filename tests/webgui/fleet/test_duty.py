"""Switching workers: by people, and by the server after too many faults."""

from __future__ import annotations

import pytest

from generator_worker.contract import SET_DUTY, Duty, Heartbeat
from tests.webgui.making import deliver, make_batch, make_worker
from webgui.accounts import audit
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Batch, Pool
from webgui.fleet import duty
from webgui.fleet.models import Worker
from webgui.fleet.tasks import heartbeat

pytestmark = pytest.mark.django_db


def test_a_duty_is_written_down_told_and_booked(worker: Worker, sent: list) -> None:
    assert duty.set_duty(worker, Duty.DRAINING, "ann", "a new\0driver")
    worker.refresh_from_db()
    assert (worker.duty_reason, worker.state) == ("a new driver", "draining")
    assert [(task, message["duty"], queue) for task, message, queue in sent] == [
        (SET_DUTY, "draining", "worker.w1.live")
    ]
    (entry,) = audit.of(worker)
    assert (entry.actor, entry.act) == ("ann", "worker.draining")
    assert entry.details == {"reason": "a new driver"}


def test_the_same_again_changes_nothing(worker: Worker, sent: list) -> None:
    assert not duty.set_duty(worker, Duty.WORKING, "ann")
    assert sent == [] and not audit.of(worker).exists()


def test_a_worker_that_missed_the_word_is_told_again(worker: Worker, sent: list) -> None:
    Worker.objects.update(duty="maintenance")
    for said, told in (("working", 1), ("maintenance", 0)):
        sent.clear()
        beat = Heartbeat(worker="w1", software="", device="", memory_bytes=0, duty=said)
        heartbeat(message=beat.wire())
        assert [message["duty"] for _, message, _ in sent] == ["maintenance"] * told
    assert Worker.objects.get().duty == "maintenance"


def test_too_many_faults_in_a_row_end_in_maintenance(worker: Worker, sent: list) -> None:
    for _ in range(4):
        duty.note_fault("w1", "out of memory")
    worker.refresh_from_db()
    assert (worker.duty, worker.faults) == ("working", 4)
    duty.note_fault("w1", "out of memory")
    worker.refresh_from_db()
    assert worker.duty == "maintenance" and "out of memory" in worker.duty_reason
    (entry,) = audit.of(worker)
    assert (entry.actor, entry.act) == ("the server", "worker.maintenance")
    duty.set_duty(worker, Duty.WORKING, "ann")
    worker.refresh_from_db()
    assert (worker.faults, worker.duty_reason) == (0, "")


def test_a_delivery_between_makes_up_for_them(pool: Pool, worker: Worker) -> None:
    for _ in range(4):
        duty.note_fault("w1", "slow")
    batch = make_batch(pool, worker="w1")
    deliver(batch)
    assert ingest(batch.pk) == "ingested"
    worker.refresh_from_db()
    assert worker.faults == 0 and worker.last_fault == "slow"


def test_a_quarantined_delivery_is_a_fault(pool: Pool, worker: Worker) -> None:
    batch = make_batch(pool, worker="w1")
    deliver(batch, files={"a.png": b"no picture"})
    assert ingest(batch.pk) == "quarantined"
    worker.refresh_from_db()
    assert worker.faults == 1 and "quarantined" in worker.last_fault


def test_a_fault_of_a_worker_nobody_knows_is_nobodys(pool: Pool) -> None:
    duty.note_fault("", "lost")
    make_worker("w1")
    assert Batch.objects.count() == 0 and Worker.objects.get().faults == 0
