"""Releases are switched back and forth while many claim and batches arrive, on the database in
use: no claim fails, and nobody is given an image of a release that was discarded before."""

from __future__ import annotations

import random
import threading
import time
from itertools import count
from typing import Any

import pytest
from django.db import connection, transaction

from tests.webgui.buffer.test_activation import files_of
from tests.webgui.buffer.test_concurrency import together
from tests.webgui.making import deliver, make_batch, make_pool, make_release, make_worker, stock
from webgui.accounts import audit
from webgui.buffer.activation import activate, roll_back
from webgui.buffer.claim import claim, offers_of
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Activation, Avatar, AvatarTag, Batch, OldStock, Pool
from webgui.buffer.problems import ChangedMeanwhile
from webgui.buffer.replenish import replenish
from webgui.registry.models import Release

pytestmark = pytest.mark.django_db(transaction=True)
CLAIMERS = 8
TURNS = 12


class Switchboard:
    """Which releases nobody may be given an image of, and since when; the switching alone turns
    it."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.banned: dict[int, float] = {}

    def claim_all_the_while(self, number: int) -> tuple[list[Any], list[Any]]:
        """What one client was given, and what of that was banned from before the claim until
        after it. Who finds nothing gets a ticket, which is no failure; a failure raises."""
        given: list[Any] = []
        wrong: list[Any] = []
        chance = random.Random(number)
        for turn in count():
            if self.over.is_set():
                return given, wrong
            before = dict(self.banned)
            tags = ["smiling"] if chance.random() < 0.25 else []
            key = f"{number}-{turn}" if chance.random() < 0.25 else None
            avatar = claim("toon", tags, client=f"visitor:{number}", idempotency_key=key).avatar
            if avatar is None:
                time.sleep(0.01)
                continue
            given.append(avatar.pk)
            since = before.get(avatar.release_id)
            if since is not None and self.banned.get(avatar.release_id) == since:
                wrong.append(avatar.pk)

    def switch(self, pool: Pool, releases: tuple[Release, Release]) -> None:
        try:
            for turn in range(TURNS):
                old, new = releases if turn % 2 == 0 else releases[::-1]
                self.banned.pop(new.pk, None)
                here = Pool.objects.select_related("release").get(pk=pool.pk)
                if turn % 4 == 3:
                    roll_back(here, "switch", OldStock.DISCARD)
                else:
                    activate(here, new, "switch", OldStock.DISCARD)
                self.banned[old.pk] = time.monotonic()
                for release in (new, old):
                    self.bring(pool, release, turn)
                time.sleep(0.05)
        finally:
            self.over.set()

    def bring(self, pool: Pool, release: Release, turn: int) -> None:
        """An order of each release that was under way when the pool turned."""
        order = Batch.objects.get(pool=pool, release=release, base_seed=7000 + turn)
        deliver(order, tags=("smiling",))
        ingest(order.pk)


def test_no_claim_fails_and_none_brings_what_was_discarded(home: object, settings: Any) -> None:
    settings.TICKETS_PER_CLIENT = settings.TICKETS_PER_POOL = 10**6
    settings.WORKER_SILENCE_SECONDS = 600  # however busy the machine is
    pool = make_pool()
    make_worker()
    other = Pool(pk=pool.pk, slug=pool.slug, release=make_release("other"))
    for turn in range(TURNS):
        for source in (pool, other):
            make_batch(source, count=1, base_seed=7000 + turn)
    files_of(stock(pool, 400, ("smiling",)))
    files_of(later := stock(other, 400, ("smiling",)))
    AvatarTag.objects.filter(avatar__in=later).delete()
    Avatar.objects.filter(pk__in=[avatar.pk for avatar in later]).update(state="retired")
    board = Switchboard()
    board.banned[other.release.pk] = time.monotonic()

    def work(number: int) -> tuple[list[Any], list[Any]]:
        if number < CLAIMERS:
            return board.claim_all_the_while(number)
        board.switch(pool, (pool.release, other.release))
        return [], []

    results = together(CLAIMERS + 1, work)
    given = [pk for mine, _ in results for pk in mine]
    assert [pk for _, wrong in results for pk in wrong] == []
    assert len(given) == len(set(given)) > 50
    assert len({*Avatar.objects.filter(pk__in=given).values_list("release", flat=True)}) == 2
    assert audit.of(pool).count() == TURNS == Pool.objects.get().version
    # The buffer and the index of tags agree: what is discarded is offered to nobody.
    offered = set(AvatarTag.objects.values_list("avatar", flat=True))
    available = Avatar.objects.filter(state=Avatar.State.AVAILABLE)
    assert offered == set(available.values_list("pk", flat=True))
    assert set(available.values_list("release", flat=True)) <= {Pool.objects.get().release_id}


def test_of_many_administrators_at_once_one_wins(home: object) -> None:
    pool = make_pool()
    wanted = [make_release(f"r{number}") for number in range(6)]

    def decide(number: int) -> Release | None:
        try:
            return activate(pool, wanted[number], str(number), OldStock.KEEP).release
        except ChangedMeanwhile:
            return None

    (won,) = [release for release in together(len(wanted), decide) if release]
    assert Pool.objects.get().release == won
    assert Activation.objects.get().release == won
    losers = Release.objects.exclude(pk__in=[won.pk, pool.release_id])
    assert audit.of(pool).get().details["release"] == won.digest and losers.count() == 5


def test_turning_orders_deliveries_and_claims_meet_without_a_deadlock(home: object) -> None:
    pool = make_pool()
    make_worker()
    releases = [pool.release, make_release("other")]
    stock(pool, 60, ("smiling",))
    orders = [make_batch(pool, count=1, base_seed=10 * number) for number in range(4)]
    for order in orders:
        deliver(order, tags=("smiling",))

    def work(number: int) -> None:
        for turn in range(4):
            if number == 0:
                here = Pool.objects.get(pk=pool.pk)
                activate(here, releases[(turn + 1) % 2], "tests", list(OldStock)[turn % 3])
            elif number == 1:
                replenish()
            elif number == 2:
                ingest(orders[turn].pk)
            else:
                claim(tags=["smiling"] if number % 2 else [], client=f"visitor:{number}")

    together(8, work)
    assert Pool.objects.get().release == releases[0]


def test_looking_for_old_ones_first_neither_scans_nor_sorts(home: object) -> None:
    pool = make_pool()
    stock(pool, 3000)
    pool = activate(pool, make_release("other"), "tests", OldStock.KEEP)
    stock(pool, 1000)
    assert pool.old_first
    query = offers_of(pool).filter(key__gte=-(2**61), key__lt=0).order_by("key")[:1]
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    with transaction.atomic():
        steps = query.explain().upper()
    steps = steps.replace("INDEX ONLY SCAN", "").replace("INDEX SCAN", "")
    assert "SCAN" not in steps and "SORT" not in steps and "TEMP B-TREE" not in steps
