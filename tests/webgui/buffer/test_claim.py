"""Claiming: exclusive, random, by tags, once per key, honest when there is nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.webgui.making import make_pool, make_release, make_worker, stock
from webgui.buffer import problems
from webgui.buffer.claim import avatars_of, claim, forget_old_keys
from webgui.buffer.models import Avatar, AvatarTag, ClaimKey, Pool, Ticket
from webgui.fleet.models import Worker
from webgui.registry.models import Release


def test_a_claim_takes_one_avatar_for_this_client(pool: Pool) -> None:
    stock(pool, 3)
    got = claim("toon", client="visitor:a").avatar
    assert got is not None
    got.refresh_from_db()
    assert (got.state, got.claimed_by) == (Avatar.State.CLAIMED, "visitor:a")
    assert Avatar.objects.filter(state=Avatar.State.AVAILABLE).count() == 2
    assert list(avatars_of("visitor:a")) == [got]
    assert list(avatars_of("visitor:b")) == []


def test_all_are_handed_out_once_and_then_there_is_a_ticket(pool: Pool, worker: Worker) -> None:
    stock(pool, 20)
    taken = {claim(client="visitor:a").avatar for _ in range(20)}
    assert len(taken) == 20 and None not in taken
    answer = claim(client="visitor:a")
    assert answer.avatar is None and answer.ticket is not None


def test_the_choice_is_random(pool: Pool) -> None:
    stock(pool, 40)
    order = [claim(client="visitor:a").avatar.seed for _ in range(40)]  # type: ignore[union-attr]
    assert sorted(order) == list(range(40))
    assert order != sorted(order)


def test_a_pool_gives_only_its_own(pool: Pool, worker: Worker) -> None:
    other = make_pool("pixel")
    stock(other, 1)
    assert claim("toon", client="visitor:a").avatar is None
    assert claim("pixel", client="visitor:a").avatar is not None


def test_without_a_pool_named_the_first_one_serves(pool: Pool) -> None:
    stock(make_pool("pixel"), 1)
    mine = stock(pool, 1)
    assert claim(client="visitor:a").avatar == mine[0]


def test_tags_are_all_met(pool: Pool, worker: Worker) -> None:
    stock(pool, 30, ("black hair", "serious"))
    stock(pool, 30, ("pink hair", "serious"))
    wanted = stock(pool, 2, ("pink hair", "smiling"))
    got = {claim("toon", ["smiling", "pink hair"], client="visitor:a").avatar for _ in range(2)}
    assert got == set(wanted)
    assert claim("toon", ["smiling", "pink hair"], client="visitor:a").ticket is not None
    one_tag = claim("toon", ["black hair"], client="visitor:a").avatar
    assert one_tag is not None and one_tag.tags == ["black hair", "serious"]


def test_a_claimed_avatar_is_offered_under_no_tag(pool: Pool) -> None:
    stock(pool, 1, ("pink hair", "smiling"))
    claim(client="visitor:a")
    assert not AvatarTag.objects.exists()


@pytest.mark.parametrize(
    ("pool_slug", "tags", "problem", "field", "accepted"),
    [
        ("nope", [], problems.UnknownPool, "pool", ["toon"]),
        (
            "toon",
            ["blue hair"],
            problems.UnknownTag,
            "tags",
            ["black hair", "pink hair", "serious", "smiling"],
        ),
        ("toon", ["pink hair", "black hair"], problems.ConflictingTags, "tags", None),
    ],
)
def test_what_there_is_not_is_refused_by_name(
    pool: Pool, pool_slug: str, tags: list[str], problem: type, field: str, accepted: list[str]
) -> None:
    stock(pool, 1)
    with pytest.raises(problem) as refused:
        claim(pool_slug, tags, client="visitor:a")
    assert refused.value.field == field
    assert accepted is None or refused.value.accepted == accepted
    assert Avatar.objects.get().state == Avatar.State.AVAILABLE


def test_what_a_release_never_draws_together_is_not_waited_for(pool: Pool) -> None:
    rule = {"when": {"hair colour": ["pink hair"]}, "then": {"mouth": ["", "smiling"]}}
    manifest = pool.release.manifest | {"params": {"rules": [rule, "unreadable"]}}
    Release.objects.filter(pk=pool.release_id).update(manifest=manifest)
    make_worker()
    with pytest.raises(problems.ConflictingTags, match="never drawn with") as refused:
        claim("toon", ["pink hair", "serious"], client="visitor:a")
    assert refused.value.accepted == ["smiling"]
    assert not Ticket.objects.exists()
    for tags in (["pink hair", "smiling"], ["pink hair"], ["black hair", "serious"]):
        assert claim("toon", tags, client="visitor:a").ticket


def test_without_any_pool_it_says_so(db: None) -> None:
    with pytest.raises(problems.NoPool):
        claim(client="visitor:a")


def test_without_a_worker_nobody_is_made_to_wait(pool: Pool) -> None:
    with pytest.raises(problems.NoWorkerAlive) as refused:
        claim(client="visitor:a")
    assert refused.value.retry_after
    assert not Ticket.objects.exists()


def test_tags_not_on_the_shelf_do_not_mean_that_all_are_taken(pool: Pool) -> None:
    stock(pool, 1, ("black hair",))
    with pytest.raises(problems.NoWorkerAlive, match=r"^No avatar of Toon with these tags is left"):
        claim("toon", ["pink hair"], client="visitor:a")
    assert claim("toon", client="visitor:a").avatar is not None
    with pytest.raises(problems.NoWorkerAlive, match=r"^No avatar of Toon is left"):
        claim("toon", client="visitor:a")


def test_a_silent_worker_does_not_count(pool: Pool, worker: Worker) -> None:
    Worker.objects.update(last_seen=timezone.now() - timedelta(seconds=31))
    with pytest.raises(problems.NoWorkerAlive):
        claim(client="visitor:a")


def test_a_paused_pool_hands_out_what_it_has_and_then_says_so(pool: Pool, worker: Worker) -> None:
    stock(pool, 1)
    Pool.objects.update(paused=True)
    assert claim(client="visitor:a").avatar is not None
    with pytest.raises(problems.PoolPaused):
        claim(client="visitor:a")


def test_a_pool_of_a_retired_release_hands_out_what_it_has_and_then_says_so(
    pool: Pool, worker: Worker
) -> None:
    Release.objects.update(state=Release.State.RETIRED)
    stock(pool, 1)
    assert claim(client="visitor:a").avatar is not None
    with pytest.raises(problems.PoolRetired):
        claim(client="visitor:a")


def test_a_pool_whose_orders_fail_says_so(pool: Pool, worker: Worker) -> None:
    Pool.objects.update(backoff_until=timezone.now() + timedelta(seconds=20))
    with pytest.raises(problems.PoolInTrouble) as refused:
        claim(client="visitor:a")
    assert 15 <= (refused.value.retry_after or 0) <= 20


def test_the_line_has_an_end(pool: Pool, worker: Worker, settings) -> None:
    settings.TICKETS_PER_POOL = 2
    claim(client="visitor:a")
    claim(client="visitor:b")
    with pytest.raises(problems.LineFull):
        claim(client="visitor:c")


def test_one_client_takes_only_so_many_places(pool: Pool, worker: Worker, settings) -> None:
    settings.TICKETS_PER_CLIENT = 2
    make_pool("pixel")
    first = claim("toon", client="visitor:a").ticket
    claim("pixel", client="visitor:a")
    for slug in ("toon", "pixel"):
        with pytest.raises(problems.TooManyTickets, match="2 times already"):
            claim(slug, client="visitor:a")
    assert claim("toon", client="visitor:b").ticket is not None
    assert first is not None
    Ticket.objects.filter(pk=first.pk).update(state=Ticket.State.EXPIRED)
    assert claim("toon", client="visitor:a").ticket is not None


class TestIdempotencyKey:
    def test_the_same_claim_again_gives_the_same_avatar(self, pool: Pool) -> None:
        stock(pool, 5)
        first = claim("toon", client="visitor:a", idempotency_key="k1")
        again = claim("toon", client="visitor:a", idempotency_key="k1")
        other = claim("toon", client="visitor:a", idempotency_key="k2")
        assert first.avatar == again.avatar != other.avatar
        assert Avatar.objects.filter(state=Avatar.State.CLAIMED).count() == 2

    def test_with_another_body_it_is_refused(self, pool: Pool) -> None:
        stock(pool, 5)
        claim("toon", client="visitor:a", idempotency_key="k1")
        with pytest.raises(problems.KeyReused):
            claim("toon", ["smiling"], client="visitor:a", idempotency_key="k1")

    def test_another_client_gets_nothing_of_it(self, pool: Pool) -> None:
        stock(pool, 5)
        claim("toon", client="visitor:a", idempotency_key="k1")
        with pytest.raises(problems.KeyReused):
            claim("toon", client="visitor:b", idempotency_key="k1")

    def test_after_a_day_it_is_free_again(self, pool: Pool) -> None:
        stock(pool, 5)
        first = claim("toon", client="visitor:a", idempotency_key="k1")
        ClaimKey.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
        assert claim("toon", client="visitor:b", idempotency_key="k1").avatar != first.avatar
        ClaimKey.objects.update(created_at=timezone.now() - timedelta(hours=24, seconds=1))
        assert forget_old_keys() == 1

    def test_a_claim_that_failed_does_not_use_it_up(self, pool: Pool) -> None:
        with pytest.raises(problems.NoWorkerAlive):
            claim("toon", client="visitor:a", idempotency_key="k1")
        stock(pool, 1)
        assert claim("toon", client="visitor:a", idempotency_key="k1").avatar is not None

    def test_it_stands_for_a_ticket_and_then_for_its_avatar(
        self, pool: Pool, worker: Worker
    ) -> None:
        waiting = claim(client="visitor:a", idempotency_key="k1")
        assert waiting.ticket == claim(client="visitor:a", idempotency_key="k1").ticket
        (avatar,) = stock(pool, 1)
        from webgui.buffer.tickets import serve_everywhere

        assert serve_everywhere() == 1
        assert claim(client="visitor:a", idempotency_key="k1").avatar == avatar

    def test_an_expired_ticket_frees_it(self, pool: Pool, worker: Worker) -> None:
        waiting = claim(client="visitor:a", idempotency_key="k1")
        Ticket.objects.update(state=Ticket.State.EXPIRED)
        stock(pool, 1)
        again = claim(client="visitor:a", idempotency_key="k1")
        assert waiting.ticket is not None and again.avatar is not None

    @pytest.mark.parametrize("change", ["tag gone", "pool renamed", "pool paused", "drained"])
    def test_a_replay_is_answered_whatever_has_changed_since(self, pool: Pool, change: str) -> None:
        stock(pool, 1, ("smiling",))
        first = claim("toon", ["smiling"], client="visitor:a", idempotency_key="k1")
        if change == "tag gone":
            pool.release = make_release("without", tags={"mouth": {"serious": 1.0}})
        elif change == "pool renamed":
            pool.slug = "heads"
        elif change == "pool paused":
            pool.paused = True
        pool.save()
        again = claim("toon", ["smiling", "smiling"], client="visitor:a", idempotency_key="k1")
        assert again == first
        with pytest.raises(problems.KeyReused):
            claim("toon", ["serious"], client="visitor:a", idempotency_key="k1")

    def test_a_ticket_is_found_again_though_its_tag_is_gone(
        self, pool: Pool, worker: Worker
    ) -> None:
        first = claim("toon", ["smiling"], client="visitor:a", idempotency_key="k1")
        pool.release = make_release("without", tags={"mouth": {"serious": 1.0}})
        pool.save()
        again = claim("toon", ["smiling"], client="visitor:a", idempotency_key="k1")
        assert again.ticket is not None and again.ticket == first.ticket
        with pytest.raises(problems.UnknownTag):
            claim("toon", ["smiling"], client="visitor:a", idempotency_key="k2")

    @pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "ключ", "a\x00b"])
    def test_an_unusable_one_is_refused(self, pool: Pool, key: str) -> None:
        stock(pool, 1)
        with pytest.raises(problems.BadIdempotencyKey):
            claim(client="visitor:a", idempotency_key=key)
