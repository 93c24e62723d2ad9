"""What the charts are drawn from, and what is told from how long something lasts."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from tests.webgui.making import make_batch, make_worker, stock
from webgui.buffer.claim import claim
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.fleet import samples
from webgui.fleet.models import Sample, Worker


def aged(sample: Sample | None, seconds: float) -> None:
    """As if it had been taken so long ago."""
    assert sample is not None
    Sample.objects.filter(pk=sample.pk).update(
        at=sample.at - timedelta(seconds=seconds), slot=sample.slot - int(seconds / 15) - 1
    )


def series(count: int, **fields: object) -> None:
    """One every 15 seconds until now."""
    now = timezone.now()
    values = {"seconds": 15, "claims": 0, "images": 0, "workers": 1, "pools": {}} | fields
    Sample.objects.bulk_create(
        Sample(slot=-n, at=now - timedelta(seconds=15 * n), **values) for n in range(count)
    )


def test_a_sample_says_how_things_stand(pool: Pool, worker: Worker) -> None:
    stock(pool, 5)
    sample = samples.take()
    assert sample is not None
    assert sample.pools == {"toon": {"available": 5, "waiting": 0, "low": 8}}
    assert (sample.workers, sample.claims, sample.images) == (1, 0, 0)


def test_it_counts_what_happened_since_the_last_one(pool: Pool, worker: Worker) -> None:
    aged(samples.take(), 30)
    stock(pool, 5)
    for _ in range(3):
        claim(client="visitor:a")
    before = timezone.now() - samples.SETTLING
    Avatar.objects.filter(state=Avatar.State.CLAIMED).update(claimed_at=before)
    make_batch(pool, state="ingested", settled_at=timezone.now(), ingested_count=7)
    old = timezone.now() - timedelta(minutes=5)
    make_batch(pool, state=Batch.State.INGESTED, settled_at=old, ingested_count=100)
    sample = samples.take()
    assert sample is not None
    assert (sample.claims, sample.images) == (3, 7)
    assert 29 <= sample.seconds <= 40


def test_two_clocks_take_one(pool: Pool) -> None:
    taken = [samples.take() for _ in range(3)]
    assert len([sample for sample in taken if sample is not None]) == Sample.objects.count() <= 2


def test_a_paused_pool_is_never_low(pool: Pool) -> None:
    Pool.objects.update(paused=True)
    sample = samples.take()
    assert sample is not None and sample.pools["toon"]["low"] == 0


def test_a_day_is_kept(pool: Pool) -> None:
    aged(samples.take(), 26 * 3600)
    samples.take()
    assert Sample.objects.count() == 1


def test_lasting_is_known_once_it_was_watched_for_so_long(db: None) -> None:
    series(9)
    assert samples.lasted(100, lambda sample: sample.workers == 1)
    assert not samples.lasted(300, lambda sample: sample.workers == 1)
    assert not samples.lasted(100, lambda sample: sample.slot != -3)


def test_a_day_of_samples_makes_a_chart_of_few_points(db: None) -> None:
    levels = {"toon": {"available": 9, "waiting": 0, "low": 8}}
    series(5000, claims=5, images=10, pools=levels)
    Sample.objects.filter(slot=-100).update(
        pools={"toon": {"available": 0, "waiting": 3, "low": 8}}
    )
    chart = samples.history(timedelta(days=1))
    assert len(chart["times"]) <= samples.POINTS and chart["times"] == sorted(chart["times"])
    assert set(chart["claims"]) == {20} and set(chart["images"]) == {40}
    (toon,) = chart["pools"]
    assert toon["pool"] == "toon" and set(toon["available"]) == {9, 0}  # the gap is seen


def test_a_pool_that_was_not_there_yet_is_a_gap(db: None) -> None:
    series(4)
    Sample.objects.filter(slot=0).update(pools={"new": {"available": 1, "waiting": 0, "low": 1}})
    assert samples.history(timedelta(hours=1))["pools"] == [
        {"pool": "new", "available": [None, None, None, 1]}
    ]


def test_nothing_yet(db: None) -> None:
    make_worker()
    assert samples.history(timedelta(hours=1))["times"] == []
