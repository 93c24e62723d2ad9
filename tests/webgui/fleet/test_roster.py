"""Heartbeats: who is alive, how fast, and what they told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from generator_worker.contract import Heartbeat
from tests.webgui.making import make_worker
from webgui.fleet import roster
from webgui.fleet.models import Worker
from webgui.fleet.tasks import heartbeat

pytestmark = pytest.mark.django_db


def beat(name: str = "w1", **changes: object) -> Heartbeat:
    fields = {"worker": name, "software": "0.1", "device": "cpu", "memory_bytes": 2**40}
    return Heartbeat(**(fields | changes))


def test_a_heartbeat_is_written_down() -> None:
    heartbeat(message=beat(loaded=("a" * 64,), outbox=2, images_per_minute=90.5).wire())
    worker = Worker.objects.get()
    assert (worker.name, worker.device, worker.outbox) == ("w1", "cpu", 2)
    assert (worker.loaded, worker.images_per_minute) == (["a" * 64], 90.5)
    assert worker.memory_bytes == 2**40 and worker.alive


def test_a_boasting_worker_is_written_down_too() -> None:
    roster.record(beat(software="a\0b", device="x" * 999, memory_bytes=2**70, outbox=2**40))
    worker = Worker.objects.get()
    assert (worker.software, len(worker.device)) == ("a b", 200)
    assert (worker.memory_bytes, worker.outbox) == (2**63 - 1, 2**31 - 1)


def test_only_the_first_after_silence_is_news() -> None:
    assert roster.record(beat())
    assert not roster.record(beat())
    Worker.objects.update(last_seen=timezone.now() - timedelta(seconds=31))
    assert roster.record(beat())
    assert Worker.objects.count() == 1


def test_thirty_seconds_of_silence() -> None:
    worker = make_worker()
    for age, alive in ((29, True), (31, False)):
        Worker.objects.update(last_seen=timezone.now() - timedelta(seconds=age))
        worker.refresh_from_db()
        assert worker.alive is alive
        assert roster.alive().exists() is alive


def test_speed_is_of_those_alive_who_measured() -> None:
    assert roster.seconds_per_image() == roster.UNMEASURED_SECONDS_PER_IMAGE
    make_worker("new", images_per_minute=0)
    make_worker("gone", images_per_minute=1, last_seen=timezone.now() - timedelta(hours=1))
    assert roster.seconds_per_image() == roster.UNMEASURED_SECONDS_PER_IMAGE
    make_worker("fast", images_per_minute=90)
    make_worker("slow", images_per_minute=30)
    assert roster.seconds_per_image() == 1.0
