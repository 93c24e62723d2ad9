"""A release on trial: its share of the orders, its end, and that it can do no harm."""

from __future__ import annotations

from typing import Any

import pytest

from generator_worker.contract import BatchFailed
from tests.webgui.making import deliver, make_batch, make_pool, make_release, stock
from webgui.accounts import audit
from webgui.buffer import canary
from webgui.buffer.activation import activate, roll_back
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Activation, Avatar, Batch, OldStock, Pool
from webgui.buffer.overdue import reconcile, refused
from webgui.buffer.problems import BadPool, InUse, NoCanary, NotPreviewed
from webgui.buffer.replenish import replenish
from webgui.registry.models import Release

ME = "tests"


@pytest.fixture
def bird(pool: Pool) -> Release:
    return make_release("bird", Release.State.PREVIEWED)


def order(many: int) -> list[str]:
    """The releases of the pool's next orders, each taken in before the next is placed."""
    names = []
    for _ in range(many):
        Batch.objects.update(state=Batch.State.INGESTED)
        Pool.objects.update(filling=True)
        assert replenish()
        names += [
            batch.release.name
            for batch in Batch.objects.filter(state="ordered").order_by("ordered_at")
        ]
    return names


def fail(batch: Batch) -> None:
    refused(BatchFailed(batch_id=batch.pk, worker="w1", reason="cannot load it", attempt=1))


def canaries_order(pool: Pool) -> Batch:
    batch = make_batch(pool, count=2)
    Batch.objects.filter(pk=batch.pk).update(release=pool.canary)
    batch.refresh_from_db()
    return batch


@pytest.mark.parametrize("share", [10, 25, 50, 1, 99])
def test_its_share_of_the_orders_holds_from_the_first_on(
    pool: Pool, bird: Release, worker: Any, share: int
) -> None:
    canary.start(pool, bird, ME, share)
    names: list[str] = []
    while len(names) < 60:
        names += order(1)
        assert abs(names.count("bird") - len(names) * share / 100) <= 1
    assert names[0] == "bird"


def test_it_is_active_while_it_is_tried(pool: Pool, bird: Release) -> None:
    pool = canary.start(pool, bird, ME)
    assert (pool.canary, pool.canary_share) == (bird, 10)
    bird.refresh_from_db()
    assert bird.state == "active"
    canary.stop(pool, ME)
    bird.refresh_from_db()
    assert bird.state == "retired"
    assert [entry.act for entry in audit.of(pool)] == [
        "pool.canary_stopped",
        "pool.canary_started",
    ]


def test_one_of_another_pool_stays_active(pool: Pool, bird: Release) -> None:
    other = make_pool("other")
    canary.start(other, bird, ME)
    pool = roll_back(activate(pool, bird, ME), ME)
    bird.refresh_from_db()
    assert bird.state == "active"


@pytest.mark.parametrize(
    ("choice", "left"), [(OldStock.DISCARD, {"toon": 3}), (OldStock.MIX, {"toon": 3, "bird": 2})]
)
def test_stopped_its_images_go_or_stay(
    pool: Pool, bird: Release, choice: str, left: dict[str, int]
) -> None:
    stock(pool, 3)
    pool = canary.start(pool, bird, ME)
    here, late = canaries_order(pool), canaries_order(pool)
    deliver(here, count=1)
    ingest(here.pk)
    canary.stop(pool, ME, choice)
    deliver(late, count=1)
    ingest(late.pk)
    available = Avatar.objects.filter(state="available").values_list("release__name", flat=True)
    assert {name: list(available).count(name) for name in set(available)} == left


def test_promoted_it_is_the_pools_release_and_can_be_rolled_back(pool: Pool, bird: Release) -> None:
    before = pool.release
    stock(pool, 2)
    pool = canary.start(pool, bird, ME)
    first = canaries_order(pool)
    deliver(first)
    ingest(first.pk)
    pool = activate(pool, canary.current(pool), ME, OldStock.DISCARD)
    assert (pool.release, pool.canary) == (bird, None)
    assert set(Avatar.objects.filter(state="available").values_list("release", flat=True)) == {
        bird.pk
    }
    assert audit.of(pool)[0].act == "pool.canary_promoted"
    pool = roll_back(pool, ME)
    assert (pool.release, pool.canary) == (before, None)


def test_another_activation_leaves_it_and_its_images_alone(pool: Pool, bird: Release) -> None:
    stock(pool, 2)
    pool = canary.start(pool, bird, ME)
    first = canaries_order(pool)
    deliver(first)
    ingest(first.pk)
    pool = activate(pool, make_release("third"), ME, OldStock.DISCARD)
    assert pool.canary == bird
    assert set(Avatar.objects.filter(state="available").values_list("release", flat=True)) == {
        bird.pk
    }


def test_three_failures_in_a_row_and_it_gets_no_more_orders(
    pool: Pool, bird: Release, worker: Any
) -> None:
    pool = canary.start(pool, bird, ME, share=50)
    for _ in range(canary.PATIENCE):
        fail(canaries_order(pool))
    pool.refresh_from_db()
    assert (pool.trouble, pool.failures, pool.pause) == ("", 0, 0)  # the pool is well
    assert canary.is_given_up(pool) and "cannot load it" in pool.canary_trouble
    assert set(order(4)) == {"toon"}
    pool.refresh_from_db()
    pool = canary.start(pool, bird, ME, share=50)  # another chance
    assert "bird" in order(2)


def test_a_success_forgives_its_failures(pool: Pool, bird: Release) -> None:
    pool = canary.start(pool, bird, ME)
    for _ in range(canary.PATIENCE - 1):
        fail(canaries_order(pool))
    good = canaries_order(pool)
    deliver(good)
    ingest(good.pk)
    pool.refresh_from_db()
    assert (pool.canary_failures, pool.canary_trouble) == (0, "")


def test_its_lost_orders_are_rung_for_again(pool: Pool, bird: Release, worker: Any) -> None:
    pool = canary.start(pool, bird, ME)
    lost = canaries_order(pool)
    Batch.objects.update(state=Batch.State.OVERDUE)
    assert reconcile() == 1
    lost.refresh_from_db()
    assert lost.attempt == 2


def test_it_gets_no_orders_for_tags_it_cannot_draw(pool: Pool) -> None:
    bald = make_release("bald", tags={"mouth": {"smiling": 0.5}})
    pool = canary.start(pool, bald, ME, share=99)
    assert canary.release_for(pool, ["smiling"]) == bald
    assert canary.release_for(pool, ["pink hair"]) == pool.release
    canary.count_order(pool, pool.release)
    pool.refresh_from_db()
    assert canary.release_for(pool) == bald  # its turn has waited


def test_what_cannot_be_tried(pool: Pool, bird: Release) -> None:
    with pytest.raises(NotPreviewed):
        canary.start(pool, make_release("draft", Release.State.DRAFT), ME)
    with pytest.raises(InUse):
        canary.start(pool, pool.release, ME)
    for share in (0, 100, -1):
        with pytest.raises(BadPool):
            canary.start(pool, bird, ME, share)
    for act in (lambda: canary.stop(pool, ME), lambda: canary.current(pool)):
        with pytest.raises(NoCanary):
            act()
    pool.refresh_from_db()
    assert (pool.version, pool.canary) == (0, None)
    assert not audit.of(pool).exists() and not Activation.objects.exists()
