"""Claims of the same moment share a statement on PostgreSQL, and each is served as if alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.db import connection

from tests.webgui.buffer.test_concurrency import together
from tests.webgui.making import make_pool, make_release, make_worker, stock
from webgui.buffer import at_once
from webgui.buffer.activation import activate
from webgui.buffer.claim import Got, claim
from webgui.buffer.models import Avatar, AvatarTag, ClaimKey, OldStock, Pool
from webgui.buffer.wishes import check_tags, pool_lately

pytestmark = pytest.mark.django_db(transaction=True)


def at_once_only(tags: tuple[str, ...] = (), key: str | None = None, client: str = "visitor:a"):
    return at_once.take("toon", tags, client, key, "body")


def on_postgresql() -> bool:
    return bool(connection.vendor == "postgresql")


def wish(client: str, tags: tuple[str, ...] = (), key: str | None = None) -> at_once.Wish:
    pool = pool_lately("toon")
    return at_once.Wish(pool, check_tags(pool, tags), client, key, f"body of {client}")


def test_a_statement_serves_different_wishes_each_with_its_own(home: object) -> None:
    if not on_postgresql():
        assert at_once_only() is None  # SQLite goes the slow way
        return
    pool = make_pool()
    stock(pool, 30, ("pink hair", "smiling"))
    stock(pool, 30, ("black hair", "serious"))
    wishes = [
        wish("visitor:0", ("pink hair",)),
        wish("visitor:1", key="one"),
        wish("visitor:2"),
        wish("visitor:3", ("serious", "black hair"), key="three"),
        wish("visitor:4", ("pink hair",), key="four"),
    ]
    served = at_once._serve(wishes)
    # Who draws a place past the last key finds nothing at once; the slow way looks around the ring.
    for asked, avatar in zip(wishes, served, strict=True):
        if avatar is None:
            continue
        row = Avatar.objects.get(pk=avatar.pk)
        assert (row.state, row.claimed_by, row.tags) == ("claimed", asked.client, avatar.tags)
        assert row.claimed_at == avatar.claimed_at and set(asked.tags) <= set(row.tags)
        assert ClaimKey.objects.filter(avatar=row, key=asked.key, client=asked.client).exists() == (
            asked.key is not None
        )
        assert not AvatarTag.objects.filter(avatar=row).exists()
    found = [avatar.pk for avatar in served if avatar is not None]
    assert len(found) == len(set(found)) >= 1
    assert Avatar.objects.filter(state="claimed").count() == len(found)
    assert AvatarTag.objects.count() == 2 * (60 - len(found))


def test_a_known_key_or_one_that_two_send_together_takes_nothing(home: object) -> None:
    stock(make_pool(), 40)
    first = claim("toon", client="visitor:a", idempotency_key="known")
    assert at_once_only(key="known") is None
    assert claim("toon", client="visitor:a", idempotency_key="known") == first
    answers = together(
        8, lambda _: claim("toon", client="visitor:a", idempotency_key="the-same").avatar
    )
    assert len(set(answers)) == 1
    if on_postgresql():
        twice = [wish("visitor:a", key="twice"), wish("visitor:b"), wish("visitor:a", key="twice")]
        assert at_once._serve(twice) == [None, None, None]
    assert Avatar.objects.filter(state="claimed").count() == 2


def test_a_pool_that_has_turned_gives_nothing_unseen(home: object) -> None:
    """The process still takes the pool for what it was; the statement does not."""
    pool, newer = make_pool(), make_release("newer")
    stock(pool, 30, ("smiling",))
    assert isinstance(claim("toon", client="visitor:a"), Got)
    make_worker()
    activate(pool, newer, "tests", OldStock.KEEP)
    stock(Pool.objects.get(), 30, ("smiling",))
    assert at_once_only() is None and at_once_only(("smiling",)) is None
    releases = Counter(claim("toon", client="visitor:a").avatar.release_id for _ in range(29))  # type: ignore[union-attr]
    assert releases == {pool.release_id: 29}, "kept old stock goes first"
    activate(Pool.objects.get(), pool.release, "tests", OldStock.DISCARD)
    assert claim("toon", client="visitor:b").avatar is None, "all of the newer one are discarded"


def test_what_fails_fails_for_all_who_shared_it_and_for_nobody_else(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not on_postgresql():
        pytest.skip("SQLite goes the slow way")
    stock(make_pool(), 200)
    whole = at_once._take
    failed: list[int] = []

    def fail_once(wishes: Any) -> Any:
        if len(wishes) > 1 and not failed:
            failed.append(len(wishes))
            raise ConnectionError("the server is gone")
        return whole(wishes)

    monkeypatch.setattr(at_once, "_take", fail_once)

    def work(number: int) -> list[Any]:
        mine: list[Any] = []
        for _ in range(6):
            try:
                mine.append(claim("toon", client=f"visitor:{number}").avatar)
            except ConnectionError as error:
                mine.append(error)
        return mine

    given = [one for mine in together(8, work) for one in mine]
    avatars = [one.pk for one in given if isinstance(one, Avatar)]
    errors = [one for one in given if isinstance(one, ConnectionError)]
    assert failed == [len(errors)] and len(errors) > 1
    assert len(avatars) == len(set(avatars)) == 48 - len(errors)
    assert Avatar.objects.filter(state="claimed").count() == len(avatars)
