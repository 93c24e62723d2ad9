"""Levels cost the same however full the buffer is, and say what will come of what is ordered."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from generator_worker.contract import BatchFailed
from tests.webgui.making import deliver, make_batch, make_release, stock
from webgui.buffer import levels, tickets
from webgui.buffer.claim import claim
from webgui.buffer.ingest import ingest
from webgui.buffer.levels import available, level
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.buffer.overdue import refused
from webgui.buffer.replenish import replenish
from webgui.buffer.yields import REMEMBERED, draws_for, share_kept
from webgui.fleet.models import Worker


class TestAvailable:
    def test_few_are_counted(self, pool: Pool) -> None:
        stock(pool, 7)
        claim(client="visitor:a")
        assert available(pool) == 6

    def test_many_are_estimated_from_a_bounded_look(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(levels, "COUNTED", 400)
        stock(pool, 3000)
        for _ in range(200):  # claims leave gaps: the estimate must not mind
            claim(client="visitor:a")
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert available(pool) == pytest.approx(2800, rel=0.2)
        assert all("LIMIT" in query["sql"] for query in asked)

    def test_the_look_is_along_the_index(self, pool: Pool) -> None:
        stock(pool, 100)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SET enable_seqscan = off")  # few rows tempt it
        steps = levels._keys(pool)[: levels.COUNTED].explain().upper()
        assert "INDEX" in steps and "SORT" not in steps and "TEMP B-TREE" not in steps


def measured(pool: Pool, drawn: int, kept: int, age: int = 0) -> Batch:
    settled = timezone.now() - timedelta(seconds=age)
    return make_batch(
        pool, count=drawn, drawn=drawn, ingested_count=kept, state="ingested", settled_at=settled
    )


class TestShareKept:
    def test_nothing_is_known_at_first(self, pool: Pool) -> None:
        make_batch(pool, count=8)
        assert share_kept(pool.release_id) == 1

    def test_asked_against_delivered_tells(self, pool: Pool) -> None:
        for _ in range(10):
            measured(pool, drawn=40, kept=22)
        assert share_kept(pool.release_id) == pytest.approx(0.55, abs=0.01)

    def test_only_of_late_and_of_this_release(self, pool: Pool) -> None:
        for number in range(REMEMBERED):
            measured(pool, drawn=40, kept=0, age=1000 + number)
            measured(pool, drawn=40, kept=40, age=number)
        other = make_release("other")
        Batch.objects.create(
            pool=pool, release=other, count=40, drawn=40, base_seed=1, deadline=timezone.now(),
            state="ingested", settled_at=timezone.now(),
        )  # fmt: skip
        assert share_kept(pool.release_id) == 1

    def test_an_ingested_batch_is_a_measurement(self, pool: Pool) -> None:
        batch = make_batch(pool, count=8)
        deliver(batch, count=2)
        ingest(batch.pk)
        batch.refresh_from_db()
        assert (batch.drawn, batch.ingested_count) == (8, 2)
        assert share_kept(pool.release_id) == pytest.approx((2 + 4) / (8 + 4))

    def test_so_is_one_of_which_nothing_was_kept_but_no_other_failure(self, pool: Pool) -> None:
        for drawn in (8, 0):
            batch = make_batch(pool, count=8)
            refused(BatchFailed(batch_id=batch.pk, worker="w1", reason="no", drawn=drawn))
        assert share_kept(pool.release_id) == pytest.approx(4 / 12)

    def test_it_is_never_nothing(self, pool: Pool) -> None:
        measured(pool, drawn=512, kept=0)
        assert share_kept(pool.release_id) == 0.02


@pytest.mark.parametrize(
    ("wanted", "share", "draws"),
    [(1, 1.0, 1), (3, 1.0, 3), (1, 0.56, 4), (2, 0.56, 7), (1, 0.02, 32)],
)
def test_enough_is_drawn_but_for_one_time_in_twenty(wanted: int, share: float, draws: int) -> None:
    assert draws_for(wanted, share, most=32) == draws


def test_an_order_for_tags_makes_up_for_what_will_be_dropped(pool: Pool, worker: Worker) -> None:
    for _ in range(20):
        measured(pool, drawn=40, kept=22)
    tickets.issue(pool, ["smiling"], "visitor:a")
    replenish()
    assert Batch.objects.get(params={"tags": ["smiling"]}).count == 4


def test_what_is_under_way_counts_for_what_it_will_bring(pool: Pool) -> None:
    for _ in range(20):
        measured(pool, drawn=40, kept=20)
    make_batch(pool, count=12)
    now = level(pool)
    assert (now.under_way, now.coming) == (12, 6)
    assert now.expected == 6
    assert not Avatar.objects.exists()
