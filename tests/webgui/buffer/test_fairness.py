"""Whose turn it is: several pools, several workers, and nobody is left out."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from tests.webgui.making import make_batch, make_pool, make_worker, stock
from webgui.buffer import yields
from webgui.buffer.claim import claim
from webgui.buffer.levels import level
from webgui.buffer.models import Batch, Pool
from webgui.buffer.overdue import reconcile
from webgui.buffer.replenish import replenish
from webgui.fleet.models import Worker


def under_way() -> list[Batch]:
    found = Batch.objects.filter(state=Batch.State.ORDERED).order_by("ordered_at", "pk")
    return list(found.select_related("pool__release"))


def finish(batch: Batch) -> None:
    """What was ordered arrives, without files: only its turn is looked at here."""
    stock(batch.pool, batch.count)
    Batch.objects.filter(pk=batch.pk).update(state=Batch.State.INGESTED)


def grow(pool: Pool, **sizes: int) -> Pool:
    Pool.objects.filter(pk=pool.pk).update(batch_size=512, **sizes)
    pool.refresh_from_db()
    return pool


def test_a_huge_pool_far_below_its_mark_does_not_starve_a_small_one(
    pool: Pool, worker: Worker, settings
) -> None:
    settings.BATCHES_PER_WORKER = 1
    grow(pool, low_watermark=9_000, high_watermark=10_000)
    others = [grow(make_pool(slug), low_watermark=20, high_watermark=24) for slug in ("b", "c")]
    turns = Counter()
    for _ in range(24):
        assert replenish() == 1
        (batch,) = under_way()
        turns[batch.pool.slug] += 1
        finish(batch)
    assert turns == {"b": 5, "c": 5, "toon": 14}  # in turns until they are above their low mark
    assert all(level(other).available == 20 for other in others)


def test_visitors_who_wait_come_first(pool: Pool, worker: Worker, settings) -> None:
    settings.BATCHES_PER_WORKER = 1
    other = make_pool("pixel")
    claim("pixel", client="visitor:a")
    make_batch(pool, state=Batch.State.INGESTED, ordered_at=timezone.now() - timedelta(seconds=100))
    make_batch(other, state=Batch.State.INGESTED)  # it had its turn just now
    assert replenish() == 1
    assert [batch.pool for batch in under_way()] == [other]


def test_and_yet_the_others_get_their_turn(pool: Pool, worker: Worker, settings) -> None:
    settings.BATCHES_PER_WORKER = 1
    settings.TICKETS_PER_CLIENT = 1000
    make_pool("pixel")
    for _ in range(60):
        claim("pixel", client="visitor:a")
    made: list[str] = []
    for _ in range(12):  # an order every half minute
        Batch.objects.update(ordered_at=F("ordered_at") - timedelta(seconds=30))
        assert replenish() == 1
        (batch,) = under_way()
        made.append(batch.pool.slug)
        Batch.objects.filter(pk=batch.pk).update(state=Batch.State.QUARANTINED)
    assert 3 <= made.count("toon") <= 4


def test_below_low_comes_before_filling_up(pool: Pool, worker: Worker, settings) -> None:
    settings.BATCHES_PER_WORKER = 1
    other = make_pool("pixel")
    stock(other, 9)
    stock(pool, 5)
    assert replenish() == 1
    assert [batch.pool for batch in under_way()] == [pool]


def test_slow_and_fast_share_a_pool_by_their_speeds(pool: Pool) -> None:
    digest = pool.release.digest
    grow(pool, low_watermark=2_000, high_watermark=2_000)
    stock(pool, 1)
    for name, speed in (("slow", 0.2), ("fast", 6.0)):
        make_worker(name, speeds={digest: speed}, loaded=[digest])
    assert replenish() == 4
    counts = {(batch.worker, batch.count) for batch in under_way()}
    assert counts == {("slow", 7), ("fast", 210)}
    assert Counter(batch.worker for batch in under_way()) == {"slow": 2, "fast": 2}


def test_the_last_few_images_are_left_to_the_fast_one(pool: Pool) -> None:
    digest = pool.release.digest
    grow(pool, low_watermark=16, high_watermark=16)
    stock(pool, 10)
    for name, speed in (("slow", 0.2), ("fast", 6.0)):
        make_worker(name, speeds={digest: speed}, loaded=[digest])
    assert replenish() == 1
    (batch,) = under_way()
    assert (batch.worker, batch.count) == ("fast", 6)


def test_an_empty_shelf_gets_a_small_order_first(pool: Pool) -> None:
    digest = pool.release.digest
    grow(pool, low_watermark=2_000, high_watermark=2_000)
    make_worker("w1", speeds={digest: 4.0}, loaded=[digest])
    assert replenish() == 2
    assert [batch.count for batch in under_way()] == [32, 140]


def test_curations_losses_are_ordered_too(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = pool.release.digest
    grow(pool, low_watermark=16, high_watermark=16)
    stock(pool, 6)
    monkeypatch.setattr("webgui.buffer.replenish.share_kept", lambda _: 0.5)
    make_worker("w1", speeds={digest: 4.0}, loaded=[digest])
    replenish()
    assert under_way()[0].count == 20
    assert yields.share_kept(pool.release_id) == 1


def test_a_release_faulty_on_one_worker_is_ordered_of_the_other(pool: Pool) -> None:
    entry = {"release_digest": pool.release.digest, "reason": "x", "failures": 3, "since": ""}
    make_worker("bad", faulty=[entry])
    assert replenish() == 0
    make_worker("good")
    assert replenish() == 2
    assert {batch.worker for batch in under_way()} == {"good"}


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_nobody_starves_and_the_bounds_hold(pool: Pool, seed: int) -> None:
    """Workers of different speed come, fall silent and are taken off duty; pools are emptied at
    random. Each pool that lacks something is served again and again, no worker has more than two
    orders, and none gets any while it is not at work."""
    chance = random.Random(seed)
    pools = [pool, *(make_pool(slug) for slug in ("b", "c"))]
    for number, each in enumerate(pools):
        grow(each, low_watermark=10 * 4**number, high_watermark=20 * 4**number)
    speeds = [{each.release.digest: chance.choice([0.1, 0.5, 1]) for each in pools} for _ in "abcd"]
    workers = [make_worker(f"w{n}", speeds=speeds[n]) for n in range(4)]
    served: Counter[str] = Counter()
    for _ in range(25):
        for worker in workers:
            silent = chance.random() < 0.15
            Worker.objects.filter(pk=worker.pk).update(
                last_seen=timezone.now() - timedelta(seconds=60 if silent else 0),
                duty=chance.choice(["working"] * 6 + ["draining", "maintenance"]),
            )
        before = {batch.pk: (batch.worker, batch.attempt) for batch in under_way()}
        reconcile()
        replenish()
        at_work = {w.name for w in Worker.objects.all() if w.state == "working"}
        for batch in under_way():
            if before.get(batch.pk) != (batch.worker, batch.attempt):
                assert batch.worker in at_work
        in_hand = Counter(batch.worker for batch in under_way())
        assert max(in_hand.values(), default=0) <= 2
        for batch in under_way():
            if batch.worker in at_work and chance.random() < 0.6:
                served[batch.pool.slug] += 1
                finish(batch)
        chance.choice(pools).avatars.filter(state="available").update(state="claimed")
    assert min(served[each.slug] for each in pools) >= 4
