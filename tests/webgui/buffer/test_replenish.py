"""Orders: enough, not too many, in turns, and no storm when they fail."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from generator_worker.contract import GENERATE_BATCH, GenerateBatch
from tests.webgui.making import deliver, make_batch, make_release, make_worker, stock
from webgui.buffer import orders
from webgui.buffer.claim import claim
from webgui.buffer.ingest import ingest
from webgui.buffer.levels import level
from webgui.buffer.models import Batch, Pool, Ticket
from webgui.buffer.overdue import reconcile
from webgui.buffer.progress import outlook
from webgui.buffer.replenish import replenish
from webgui.buffer.trouble import note_trouble
from webgui.fleet.models import Worker
from webgui.registry.models import Release


def ordered(pool: Pool) -> int:
    return Batch.objects.filter(pool=pool, state=Batch.State.ORDERED).count()


def ingest_all(pool: Pool) -> None:
    """What is under way arrives."""
    for batch in Batch.objects.filter(pool=pool, state=Batch.State.ORDERED):
        stock(pool, batch.count)
        Batch.objects.filter(pk=batch.pk).update(state=Batch.State.INGESTED)


def test_nothing_is_ordered_while_no_worker_lives(pool: Pool) -> None:
    assert replenish() == 0


def test_the_order_says_all_a_worker_needs(pool: Pool, worker: Worker, sent: list) -> None:
    replenish()
    task, message, queue = sent[0]
    order = GenerateBatch.read(message)
    batch = Batch.objects.get(pk=order.batch_id)
    assert (task, queue, batch.worker) == (GENERATE_BATCH, "worker.w1", "w1")
    assert (order.pool, order.count, order.attempt) == ("toon", 4, 1)
    assert order.release_digest == pool.release.digest
    assert order.base_seed == batch.base_seed


def test_no_more_is_in_flight_than_the_fleet_can_be_behind_by(pool: Pool, worker: Worker) -> None:
    assert replenish() == 2  # of the four batches that high asks for
    assert replenish() == 0
    make_worker("w2")
    assert replenish() == 2


def test_from_below_low_it_fills_to_high_and_then_rests(pool: Pool, worker: Worker) -> None:
    for _ in range(4):
        replenish()
        ingest_all(pool)
    assert level(pool).available == 16
    assert replenish() == 0
    for _ in range(8):  # down to low, not below
        claim(client="visitor:a")
    assert replenish() == 0
    claim(client="visitor:a")
    assert replenish() == 2
    ingest_all(pool)
    assert level(pool).available == 15
    assert replenish() == 1  # above low, and yet not full


def test_what_is_under_way_counts(pool: Pool, worker: Worker) -> None:
    make_worker("w2")
    make_worker("w3")
    assert replenish() == 4
    Batch.objects.filter(pool=pool).update(state=Batch.State.DELIVERED)
    assert replenish() == 0


def test_those_in_line_are_counted_too(pool: Pool) -> None:
    for number in range(5):
        make_worker(f"w{number}")
    for _ in range(4):
        claim(client="visitor:a")
    assert replenish() == 5  # 16 for the buffer, 4 for the line


@pytest.mark.parametrize("why", ["paused", "backing off", "retired release"])
def test_some_pools_are_ordered_nothing(pool: Pool, worker: Worker, why: str) -> None:
    if why == "paused":
        Pool.objects.update(paused=True)
    elif why == "backing off":
        note_trouble(pool, "x")
    else:
        Release.objects.update(state=Release.State.RETIRED)
    assert replenish() == 0


def test_seeds_do_not_overlap(pool: Pool) -> None:
    for number in range(10):
        make_worker(f"w{number}")
    Pool.objects.update(high_watermark=80)
    replenish()
    seeds = [s for b in Batch.objects.all() for s in range(b.base_seed, b.base_seed + b.count)]
    assert len(set(seeds)) == len(seeds) == 80


def test_tags_someone_waits_for_are_ordered_to_measure(
    pool: Pool, worker: Worker, sent: list
) -> None:
    stock(pool, 16, ("black hair",))
    claim("toon", ["pink hair", "smiling"], client="visitor:a")
    assert replenish() >= 1
    batch = Batch.objects.get(state=Batch.State.ORDERED, params={"tags": ["pink hair", "smiling"]})
    assert batch.count == 2
    assert sent[0][1]["params"] == {"tags": ["pink hair", "smiling"]}
    replenish()
    assert Batch.objects.exclude(params={}).count() == 1  # it is under way already


def test_tags_no_batch_ever_brings_are_not_ordered_for_ever(pool: Pool, worker: Worker) -> None:
    stock(pool, 16, ("black hair",))
    ticket = claim("toon", ["pink hair"], client="visitor:a").ticket
    assert ticket is not None and outlook(ticket).eta_seconds is not None
    for _ in range(5):
        replenish()
        Batch.objects.filter(state=Batch.State.ORDERED).update(
            state=Batch.State.INGESTED, settled_at=timezone.now()
        )
    assert Batch.objects.exclude(params={}).count() == 3
    told = outlook(ticket)
    assert told.eta_seconds is None and "Other traits" in told.note


def test_a_long_line_for_the_same_tags_is_served_to_its_end(pool: Pool, worker: Worker) -> None:
    for number in range(20):
        claim("toon", ["pink hair"], client=f"visitor:{number}")
    for _ in range(40):
        replenish()
        for batch in Batch.objects.filter(state=Batch.State.ORDERED):
            deliver(batch, tags=tuple(batch.tags))
            ingest(batch.pk)
    assert Ticket.objects.filter(state=Ticket.State.SERVED).count() == 20
    assert Batch.objects.exclude(params={}).count() > Batch.MAX_ATTEMPTS


def test_those_who_wait_for_tags_leave_every_second_order_to_the_shelf(
    pool: Pool, worker: Worker, settings
) -> None:
    settings.BATCHES_PER_WORKER = 6
    stock(pool, 1, ("black hair", "serious"))
    Pool.objects.update(high_watermark=64)
    for tags in (["pink hair"], ["smiling"], ["pink hair", "smiling"]):
        claim("toon", tags, client="visitor:a")
    assert replenish() == 6
    made = Batch.objects.filter(state=Batch.State.ORDERED).order_by("ordered_at")
    assert [bool(batch.params) for batch in made] == [True, False] * 3


def test_two_beats_do_not_double_the_work(pool: Pool, worker: Worker) -> None:
    replenish()
    replenish()
    assert ordered(pool) == 2
    batch = Batch.objects.first()
    assert batch is not None
    Batch.objects.filter(pk=batch.pk).update(deadline=timezone.now() - timedelta(seconds=1))
    assert reconcile() + reconcile() == 1


def test_a_broker_that_is_down_costs_nothing_but_time(
    pool: Pool, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise ConnectionError("refused")

    from webgui.config.celery import app

    monkeypatch.setattr(app, "send_task", down)
    assert replenish() == 2
    batch = Batch.objects.first()
    assert batch is not None and not orders.send_order(batch)
    assert ordered(pool) == 2


def test_another_release_is_not_made_for_a_pool_that_moved_on(pool: Pool, worker: Worker) -> None:
    batch = make_batch(pool, deadline=timezone.now() - timedelta(seconds=1))
    Pool.objects.update(release=make_release("newer"))
    assert reconcile() == 0
    batch.refresh_from_db()
    assert batch.state == Batch.State.FAILED
