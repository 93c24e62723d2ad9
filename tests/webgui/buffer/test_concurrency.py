"""Many at once, each with a connection of their own, on the database in use."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections, transaction

from tests.webgui.making import deliver, make_batch, make_pool, make_worker, stock
from webgui.buffer.claim import claim, offers_of, offers_with
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Avatar, AvatarTag, Batch, ClaimKey, Ticket
from webgui.buffer.replenish import replenish

pytestmark = pytest.mark.django_db(transaction=True)


def together(many: int, work: Callable[[int], Any]) -> list[Any]:
    """Run `work` in so many threads that start at the same moment; their results."""
    results: list[Any] = []
    errors: list[BaseException] = []
    start = threading.Barrier(many)

    def run(number: int) -> None:
        try:
            start.wait()
            results.append(work(number))
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def test_32_claimers_over_500_images(home: object) -> None:
    pool = make_pool()
    make_worker()
    stock(pool, 500, ("smiling",))

    def claim_until_empty(number: int) -> list[Any]:
        mine = []
        tags = ["smiling"] if number % 4 == 0 else []
        while (got := claim("toon", tags, client=f"visitor:{number}").avatar) is not None:
            mine.append(got.pk)
        return mine

    taken = Counter(pk for mine in together(32, claim_until_empty) for pk in mine)
    assert len(taken) == 500
    assert set(taken.values()) == {1}
    assert Avatar.objects.filter(state=Avatar.State.CLAIMED).count() == 500
    assert not AvatarTag.objects.exists()
    assert Ticket.objects.count() == 32  # each one's last claim found it empty


def test_one_key_sent_at_once_by_many_is_one_claim(home: object) -> None:
    stock(make_pool(), 20)

    def send(_: int) -> Any:
        return claim("toon", client="visitor:a", idempotency_key="k1").avatar

    assert len(set(together(12, send))) == 1
    assert Avatar.objects.filter(state=Avatar.State.CLAIMED).count() == 1
    assert ClaimKey.objects.count() == 1


def test_a_batch_arriving_while_claims_come_leaves_nobody_behind(home: object) -> None:
    """Either a claim gets an image or its ticket does; no image lies there while one waits."""
    pool = make_pool()
    make_worker()
    batches = [make_batch(pool, count=2, base_seed=10 * n) for n in range(4)]
    for batch in batches:
        deliver(batch)

    def arrive_or_claim(number: int) -> Any:
        if number % 4 == 0:
            return ingest(batches[number // 4].pk)
        return claim("toon", client=f"visitor:{number}")

    together(16, arrive_or_claim)  # 8 images, 12 claims
    claimed = Avatar.objects.filter(state=Avatar.State.CLAIMED)
    assert claimed.count() == 8
    assert len(set(claimed.values_list("claimed_by", flat=True))) == 8
    assert Ticket.objects.filter(state=Ticket.State.WAITING).count() == 4
    assert not Avatar.objects.filter(state=Avatar.State.AVAILABLE).exists()


def test_two_beats_at_once_order_no_more_than_one(home: object) -> None:
    make_pool()
    make_worker()
    assert sum(together(4, lambda _: replenish())) == Batch.objects.count() == 2


def test_the_same_delivery_taken_in_by_many_counts_once(home: object) -> None:
    batch = make_batch(make_pool(), count=3)
    deliver(batch)
    together(6, lambda _: ingest(batch.pk))
    assert Avatar.objects.count() == 3


@pytest.mark.parametrize("tags", [(), ("smiling",), ("smiling", "pink hair")])
def test_a_claim_neither_scans_nor_sorts(home: object, tags: tuple[str, ...]) -> None:
    pool = make_pool()
    stock(pool, 3000, ("smiling", "black hair"))
    stock(pool, 1000, ("smiling", "pink hair"))
    offers = offers_with(pool, tags) if tags else offers_of(pool)
    query = offers.filter(key__gte=2**61).order_by("key")[:1]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    with transaction.atomic():
        steps = query.explain().upper()
    for allowed in ("INDEX SCAN", "INDEX ONLY SCAN"):
        steps = steps.replace(allowed, "")
    assert "SCAN" not in steps
    assert "SORT" not in steps and "TEMP B-TREE" not in steps
