"""A pool turns from one release to another in one step, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from tests.webgui.making import deliver, make_batch, make_pool, make_release, stock
from webgui.accounts import audit
from webgui.buffer import canary
from webgui.buffer.activation import activate, roll_back
from webgui.buffer.claim import claim
from webgui.buffer.ingest import ingest
from webgui.buffer.levels import level
from webgui.buffer.models import Activation, Avatar, AvatarTag, Batch, OldStock, Pool, Ticket
from webgui.buffer.overdue import give_up, reconcile
from webgui.buffer.pictures import stored
from webgui.buffer.problems import ChangedMeanwhile, InUse, NothingToRollBack, NotPreviewed
from webgui.buffer.provision import create_pool
from webgui.buffer.replenish import replenish
from webgui.buffer.stock import forget_empty_lanes
from webgui.buffer.trouble import note_trouble
from webgui.registry.models import Release
from webgui.registry.problems import NoSuchRelease

ME = "tests"


@pytest.fixture
def newer(pool: Pool) -> Release:
    return make_release("newer", Release.State.PREVIEWED)


def files_of(avatars: Iterable[Avatar]) -> None:
    for avatar in avatars:
        path = stored(avatar.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"png")


def claimed_from(count: int, tags: tuple[str, ...] = ()) -> list[str]:
    """Names of the releases that so many claims bring images of, in order."""
    got = [claim("toon", tags, client=f"visitor:{number}").avatar for number in range(count)]
    return [avatar.release.name if avatar else "none" for avatar in got]


def state_of(release: Release) -> str:
    release.refresh_from_db()
    return release.state


def test_new_orders_are_made_with_the_new_release(pool: Pool, newer: Release, worker: Any) -> None:
    old = pool.release
    note_trouble(pool, "the old one was broken")
    turned = activate(pool, newer, ME)
    assert turned.release == newer and turned.version == pool.version + 1
    assert (state_of(newer), state_of(old)) == ("active", "retired")
    pool.refresh_from_db()
    assert (pool.release, pool.trouble, pool.pause) == (newer, "", 0)
    assert replenish() and set(Batch.objects.values_list("release", flat=True)) == {newer.pk}


def test_a_release_that_another_pool_has_stays_active(pool: Pool, newer: Release) -> None:
    make_pool("other", pool.release)
    activate(pool, newer, ME)
    assert state_of(pool.release) == "active"


def test_mix_hands_out_old_and_new_at_random(pool: Pool, newer: Release) -> None:
    stock(pool, 60)
    pool = activate(pool, newer, ME, OldStock.MIX)
    stock(pool, 60)
    got = claimed_from(120)
    assert sorted(got) == ["newer"] * 60 + ["toon"] * 60
    assert 15 < got[:60].count("newer") < 45  # 30; ±15 is four standard deviations


@pytest.mark.parametrize("tags", [(), ("smiling",), ("smiling", "pink hair")])
def test_keep_hands_out_the_old_ones_first(
    pool: Pool, newer: Release, tags: tuple[str, ...]
) -> None:
    stock(pool, 7, ("smiling", "pink hair"))
    pool = activate(pool, newer, ME, OldStock.KEEP)
    stock(pool, 7, ("smiling", "pink hair"))
    assert level(pool).available == 14
    assert claimed_from(10, tags) == ["toon"] * 7 + ["newer"] * 3
    assert level(pool).available == 4


def test_discard_hands_out_none_of_the_old_ones(pool: Pool, newer: Release, worker: Any) -> None:
    stock(pool, 5, ("smiling",))
    mine = claim(client="visitor:a").avatar
    assert mine is not None
    pool = activate(pool, newer, ME, OldStock.DISCARD)
    assert level(pool).available == 0 and not AvatarTag.objects.exists()
    assert claim(client="visitor:b").ticket is not None
    assert claim(tags=["smiling"], client="visitor:b").ticket is not None
    mine.refresh_from_db()
    assert (mine.state, mine.claimed_by) == ("claimed", "visitor:a")  # claimed ones never change


def test_a_later_choice_holds_for_all_that_is_old_by_then(pool: Pool, newer: Release) -> None:
    stock(pool, 20)
    pool = activate(pool, newer, ME, OldStock.KEEP)
    stock(pool, 20)
    pool = activate(pool, make_release("newest"), ME, OldStock.MIX)
    assert not Avatar.objects.filter(key__lt=0).exists() and not pool.old_first
    assert len(set(claimed_from(12))) == 2  # at random again; 1 in 2,000 times it fails
    activate(pool, make_release("last"), ME, OldStock.DISCARD)
    assert level(pool).available == 0


def test_the_first_lane_is_looked_into_only_while_something_may_be_there(
    pool: Pool, newer: Release
) -> None:
    stock(pool, 1)
    order = make_batch(pool, count=1)
    pool = activate(pool, newer, ME, OldStock.KEEP)
    claim(client="visitor:a")
    assert not forget_empty_lanes()  # an order of the old release is under way
    give_up(order, "lost")
    assert forget_empty_lanes() == 1
    pool.refresh_from_db()
    assert not pool.old_first


@pytest.mark.parametrize("choice", OldStock)
def test_orders_under_way_are_treated_like_the_buffer(
    pool: Pool, newer: Release, choice: str
) -> None:
    stock(pool, 3)
    order = make_batch(pool, count=2)
    pool = activate(pool, newer, ME, choice)
    assert level(pool).coming == (0 if choice == OldStock.DISCARD else 2)
    stock(pool, 3)
    deliver(order, tags=("smiling",))
    ingest(order.pk)
    order.refresh_from_db()
    assert order.state == Batch.State.INGESTED
    late = Avatar.objects.filter(batch=order)
    if choice == OldStock.DISCARD:
        assert set(late.values_list("state", flat=True)) == {"retired"}
        assert not AvatarTag.objects.exists()
    elif choice == OldStock.MIX:
        assert claimed_from(8).count("toon") == 5
    else:
        assert claimed_from(8) == ["toon"] * 5 + ["newer"] * 3


def test_an_order_of_a_discarded_release_is_not_rung_for_again(
    pool: Pool, newer: Release, worker: Any
) -> None:
    order = make_batch(pool, state=Batch.State.OVERDUE)
    activate(pool, newer, ME, OldStock.DISCARD)
    assert reconcile() == 0
    order.refresh_from_db()
    pool.refresh_from_db()
    assert order.state == Batch.State.FAILED
    assert (pool.trouble, pool.failures) == ("", 0)


def test_the_old_release_is_no_trouble_of_the_new(pool: Pool, newer: Release) -> None:
    order = make_batch(pool)
    activate(pool, newer, ME)
    give_up(order, "the worker cannot load it")
    pool.refresh_from_db()
    assert (pool.trouble, pool.failures, pool.pause) == ("", 0, 0)


def test_old_images_that_come_late_are_first_as_well(pool: Pool, newer: Release) -> None:
    order = make_batch(pool, count=2)
    pool = activate(pool, newer, ME, OldStock.KEEP)  # the buffer is empty
    stock(pool, 3)
    deliver(order)
    ingest(order.pk)
    assert claimed_from(5) == ["toon"] * 2 + ["newer"] * 3


class TestRollBack:
    def test_to_the_release_before_and_its_images(self, pool: Pool, newer: Release) -> None:
        old = pool.release
        files_of(stock(pool, 6, ("smiling",)))
        pool = activate(pool, newer, ME, OldStock.DISCARD)
        stock(pool, 4, ("smiling",))
        pool = roll_back(pool, ME)
        assert pool.release == old
        assert (state_of(old), state_of(newer)) == ("active", "retired")
        assert claimed_from(3, ("smiling",)) == ["toon"] * 3
        assert claimed_from(3) == ["toon"] * 3
        assert level(pool).available == 0
        entry = audit.of(pool)[0]
        images = {"kept": 0, "discarded": 4, "brought_back": 6}
        assert entry.act == "pool.rolled_back" and entry.details["images"] == images

    def test_images_whose_file_is_gone_stay_discarded(self, pool: Pool, newer: Release) -> None:
        here, gone = stock(pool, 2)
        files_of([here])
        pool = roll_back(activate(pool, newer, ME, OldStock.DISCARD), ME)
        assert claim(client="visitor:a").avatar == here
        gone.refresh_from_db()
        assert gone.state == "retired"

    def test_orders_of_the_release_before_count_again(self, pool: Pool, newer: Release) -> None:
        order = make_batch(pool, count=2)
        pool = activate(pool, newer, ME, OldStock.DISCARD)
        bad = make_batch(pool, count=2)
        pool = roll_back(pool, ME)
        for batch in (order, bad):
            deliver(batch)
            ingest(batch.pk)
        assert claimed_from(2) == ["toon"] * 2
        assert set(Avatar.objects.filter(batch=bad).values_list("state", flat=True)) == {"retired"}

    def test_step_by_step_to_the_first(self, pool: Pool, newer: Release) -> None:
        names = [pool.release.name]
        for release in (newer, make_release("newest")):
            pool = activate(pool, release, ME)
        for _ in range(2):
            pool = roll_back(pool, ME)
            names.append(pool.release.name)
        assert names == ["toon", "newer", "toon"]
        with pytest.raises(NothingToRollBack):
            roll_back(pool, ME)
        # What was undone is no way back, what came after it is.
        pool = activate(pool, make_release("other"), ME)
        assert roll_back(pool, ME).release.name == "toon"
        assert not Activation.objects.filter(undone_at=None).exists()

    def test_the_images_of_the_release_left_may_stay(self, pool: Pool, newer: Release) -> None:
        pool = activate(pool, newer, ME)
        stock(pool, 2)
        roll_back(pool, ME, OldStock.MIX)
        assert claimed_from(2) == ["newer"] * 2


def test_who_waits_is_served_by_what_comes_back(pool: Pool, newer: Release, worker: Any) -> None:
    files_of(stock(pool, 1))
    pool = activate(pool, newer, ME, OldStock.DISCARD)
    ticket = claim(client="visitor:a").ticket
    assert ticket is not None
    roll_back(pool, ME)
    ticket.refresh_from_db()
    assert ticket.state == Ticket.State.SERVED


def test_tags_that_only_the_old_release_knew_are_not_ordered(pool: Pool, worker: Any) -> None:
    assert claim(tags=["pink hair"], client="visitor:a").ticket is not None
    bald = make_release("bald", tags={"mouth": {"smiling": 0.5}})
    activate(pool, bald, ME)
    assert replenish()
    assert not Batch.objects.exclude(params={}).exists()


def test_without_a_good_preview_nothing_changes(pool: Pool) -> None:
    draft = make_release("draft", Release.State.DRAFT)
    with pytest.raises(NotPreviewed, match="Preview it first"):
        activate(pool, draft, ME)
    pool.refresh_from_db()
    assert pool.version == 0 and state_of(draft) == "draft"
    assert not audit.of(pool).exists() and not Activation.objects.exists()


def test_a_release_that_was_active_once_needs_no_preview(pool: Pool) -> None:
    assert activate(pool, make_release("once", Release.State.RETIRED), ME).release.name == "once"


GIVING = {
    "activated": lambda pool, release: activate(pool, release, "tests"),
    "tried": lambda pool, release: canary.start(pool, release, "tests"),
    "opened": lambda pool, release: create_pool("other", release, "tests"),
}


@pytest.mark.parametrize("give", GIVING.values(), ids=GIVING)
def test_a_release_that_was_deleted_meanwhile_is_not_given(
    pool: Pool, newer: Release, give: Any
) -> None:
    Release.objects.filter(pk=newer.pk).delete()
    with pytest.raises(NoSuchRelease, match="deleted meanwhile"):
        give(pool, newer)
    pool.refresh_from_db()
    assert (pool.release_id != newer.pk, pool.canary, Pool.objects.count()) == (True, None, 1)


def test_the_release_it_has_is_not_given_again(pool: Pool) -> None:
    with pytest.raises(InUse):
        activate(pool, pool.release, ME)
    pool.refresh_from_db()
    assert pool.version == 0


def test_of_two_who_saw_the_same_pool_one_wins(pool: Pool, newer: Release) -> None:
    seen = pool.version
    activate(pool, newer, "one", seen=seen)
    for late in (activate, roll_back):
        given = (make_release("other"), "two") if late is activate else ("two",)
        with pytest.raises(ChangedMeanwhile, match="Nothing was done"):
            late(pool, *given, seen=seen)
    pool.refresh_from_db()
    assert pool.release == newer
    assert [entry.actor for entry in audit.of(pool)] == ["one"]


def test_the_book_tells_who_did_what(pool: Pool, newer: Release) -> None:
    stock(pool, 3)
    before = pool.release
    activate(pool, newer, ME, OldStock.KEEP)
    entry = audit.of(pool).get()
    assert (entry.actor, entry.act, entry.target) == (ME, "pool.activated", "pool/toon")
    assert entry.details == {
        "release": newer.digest,
        "title": newer.title,
        "before": before.digest,
        "before_title": before.title,
        "old_stock": "keep",
        "images": {"kept": 3, "discarded": 0, "brought_back": 0},
    }
