"""Messages from workers, as Celery brings them."""

from __future__ import annotations

import uuid

import pytest

from generator_worker import contract
from tests.webgui.making import deliver, make_batch
from webgui.buffer import tasks
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.config.celery import app
from webgui.fleet.models import Worker
from webgui.fleet.tasks import heartbeat


def test_every_task_of_the_contract_and_of_the_clock_exists() -> None:
    app.loader.import_default_modules()
    names = {contract.BATCH_DELIVERED, contract.BATCH_PROGRESS, contract.BATCH_FAILED}
    names |= {contract.HEARTBEAT} | {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert names <= set(app.tasks)


def test_the_brokers_settings_are_those_that_survive_its_faults() -> None:
    assert app.conf.task_acks_late and app.conf.task_reject_on_worker_lost
    assert app.conf.task_ignore_result and app.conf.worker_prefetch_multiplier == 1
    options = app.conf.broker_transport_options
    assert options["visibility_timeout"] == contract.VISIBILITY_TIMEOUT
    assert options["visibility_timeout"] >= 2 * app.conf.task_time_limit
    assert options["socket_timeout"] == options["health_check_interval"] == 10


def test_delivered(pool: Pool) -> None:
    batch = make_batch(pool, count=1)
    deliver(batch)
    message = contract.BatchDelivered(batch_id=batch.pk, worker="w1", count=1, bytes=1)
    tasks.batch_delivered(message=message.wire())
    assert Avatar.objects.count() == 1


def test_progress_and_failure(pool: Pool) -> None:
    batch = make_batch(pool)
    progress = contract.BatchProgress(batch_id=batch.pk, worker="w1", fraction=0.5, note="half")
    tasks.batch_progress(message=progress.wire())
    batch.refresh_from_db()
    assert (batch.fraction, batch.note) == (0.5, "half")
    failed = contract.BatchFailed(batch_id=batch.pk, worker="w1", reason="unknown release")
    tasks.batch_failed(message=failed.wire())
    batch.refresh_from_db()
    assert batch.state == Batch.State.FAILED


@pytest.mark.parametrize(
    "message",
    [None, [], {}, {"contract": 2}, {"contract": 1}, {"contract": 1, "batch_id": "x"}, "hello"],
)
@pytest.mark.parametrize(
    "task", [tasks.batch_delivered, tasks.batch_progress, tasks.batch_failed, heartbeat]
)
def test_an_unreadable_message_is_dropped(db: None, task, message, caplog) -> None:
    task(message=message)
    assert "Unreadable" in caplog.text
    assert not Worker.objects.exists()


def test_of_a_batch_unknown_here(db: None, sent: list) -> None:
    message = contract.BatchDelivered(batch_id=uuid.uuid4(), worker="w1", count=1, bytes=1)
    tasks.batch_delivered(message=message.wire())
    assert sent == []


def test_the_clocks_tasks_run_on_an_empty_server(db: None, home: object) -> None:
    for task in (
        tasks.replenish_pools,
        tasks.reconcile,
        tasks.sweep_inbox,
        tasks.expire_tickets,
        tasks.forget,
        tasks.prune,
    ):
        task()


def test_what_takes_long_keeps_nothing_waiting_that_must_be_quick() -> None:
    clock = app.conf.beat_schedule.values()
    long = {entry["task"] for entry in clock if entry["options"]["queue"] == contract.INGEST_QUEUE}
    assert long == {
        "buffer.prune",
        "buffer.sweep_inbox",
        "fleet.notify",
        "registry.tidy_uploads",
        "studio.forget",
        "studio.sweep_inbox",
    }
    assert {entry["options"]["queue"] for entry in clock} == {"server", "ingest"}
    # A worker started without -Q takes in deliveries too.
    assert {queue.name for queue in app.conf.task_queues} == {"server", "ingest"}
