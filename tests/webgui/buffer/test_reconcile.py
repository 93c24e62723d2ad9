"""Orders that were lost or refused: given to another, tried three times, let go."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from generator_worker.contract import BatchFailed, BatchProgress
from generator_worker.refusals import InMaintenance, Refusal
from tests.webgui.making import deliver, make_batch, make_worker, stock
from webgui.buffer.ingest import ingest
from webgui.buffer.levels import level
from webgui.buffer.models import Batch, Pool
from webgui.buffer.overdue import NO_FAULT, reconcile, refused
from webgui.buffer.progress import patience, record
from webgui.buffer.replenish import replenish
from webgui.buffer.trouble import note_trouble
from webgui.fleet.models import Worker


def failure(batch: Batch, **changes: object) -> BatchFailed:
    return BatchFailed(
        **(
            {"batch_id": batch.pk, "worker": "w1", "attempt": batch.attempt, "reason": "no"}
            | changes
        )
    )


class TestLostOrders:
    def overdue(self, pool: Pool, **fields: object) -> Batch:
        return make_batch(pool, deadline=timezone.now() - timedelta(seconds=1), **fields)

    def test_it_is_rung_for_again(self, pool: Pool, worker: Worker, sent: list) -> None:
        batch = self.overdue(pool)
        assert reconcile() == 1
        batch.refresh_from_db()
        assert (batch.state, batch.attempt) == (Batch.State.ORDERED, 2)
        assert batch.deadline > timezone.now()
        assert sent[-1][1]["attempt"] == 2
        assert sent[-1][1]["base_seed"] == batch.base_seed

    def test_without_a_worker_no_attempt_is_used_up(self, pool: Pool, sent: list) -> None:
        batch = self.overdue(pool)
        reconcile()
        reconcile()
        batch.refresh_from_db()
        assert (batch.state, batch.attempt, sent) == (Batch.State.OVERDUE, 1, [])
        assert level(pool).under_way == 0
        make_worker()
        assert reconcile() == 1

    def test_three_attempts_are_enough(self, pool: Pool, worker: Worker) -> None:
        batch = self.overdue(pool)
        for _ in range(2):
            reconcile()
            Batch.objects.update(deadline=timezone.now() - timedelta(seconds=1))
        assert reconcile() == 0
        batch.refresh_from_db()
        assert (batch.state, batch.attempt) == (Batch.State.FAILED, 3)
        assert "3 attempts" in batch.reason
        pool.refresh_from_db()
        assert "3 attempts" in pool.trouble and pool.pause > 0

    def test_one_nobody_wants_any_more_is_let_go(self, pool: Pool, worker: Worker) -> None:
        stock(pool, 16)
        batch = self.overdue(pool)
        assert reconcile() == 0
        batch.refresh_from_db()
        pool.refresh_from_db()
        assert (batch.state, pool.failures) == (Batch.State.FAILED, 0)

    def test_begun_and_then_silence_is_noticed_before_the_deadline(
        self, pool: Pool, worker: Worker
    ) -> None:
        silent = timezone.now() - timedelta(seconds=60)
        begun = make_batch(pool, fraction=0.5, progress_at=silent)
        drawn = make_batch(pool, fraction=1, progress_at=silent)
        assert reconcile() == 1
        begun.refresh_from_db()
        drawn.refresh_from_db()
        assert (begun.attempt, drawn.attempt) == (2, 1)

    def test_a_silent_workers_orders_go_to_another_at_once(
        self, pool: Pool, worker: Worker, sent: list
    ) -> None:
        batches = [make_batch(pool, worker="gone") for _ in range(2)]
        batches.append(make_batch(pool, worker="stopped", fraction=0.5))
        kept = make_batch(pool, worker="w1")
        make_worker("stopped", last_seen=timezone.now() - timedelta(seconds=31))
        assert reconcile() == 1  # so many more has w1 room for
        make_worker("w2")
        assert reconcile() == 2
        for batch in batches:
            batch.refresh_from_db()
            assert (batch.state, batch.attempt) == (Batch.State.ORDERED, 2)
            assert batch.worker in ("w1", "w2") and batch.fraction == 0
        kept.refresh_from_db()
        assert (kept.worker, kept.attempt) == ("w1", 1)
        assert {queue for _, _, queue in sent} == {"worker.w1", "worker.w2"}

    def test_while_all_are_silent_they_keep_what_they_have(self, pool: Pool) -> None:
        make_worker(last_seen=timezone.now() - timedelta(seconds=31))
        batch = make_batch(pool, worker="w1")
        reconcile()
        batch.refresh_from_db()
        assert batch.state == Batch.State.ORDERED

    def test_what_a_silent_worker_delivered_is_taken_in_not_made_again(
        self, pool: Pool, worker: Worker
    ) -> None:
        batch = make_batch(pool, worker="gone")
        deliver(batch)
        assert reconcile() == 0
        assert ingest(batch.pk) == "ingested"

    @pytest.mark.parametrize("how", [{"duty": "maintenance"}, {"activity": "refusing"}])
    def test_stood_aside_it_finishes_what_it_has_begun(
        self, pool: Pool, worker: Worker, how: dict
    ) -> None:
        make_worker("aside", **how)
        begun = make_batch(pool, worker="aside", fraction=0.1, progress_at=timezone.now())
        waiting = make_batch(pool, worker="aside")
        assert reconcile() == 1
        begun.refresh_from_db()
        waiting.refresh_from_db()
        assert (begun.worker, waiting.worker) == ("aside", "w1")

    def test_another_worker_is_tried_before_the_same_again(
        self, pool: Pool, worker: Worker
    ) -> None:
        batch = self.overdue(pool, worker="w1")
        make_worker("w2", speeds={pool.release.digest: 0.1})
        assert reconcile() == 1
        batch.refresh_from_db()
        assert batch.worker == "w2"

    def test_what_would_take_the_others_too_long_is_let_go(self, pool: Pool) -> None:
        make_worker("slow", speeds={pool.release.digest: 0.1})
        batch = make_batch(pool, count=200, worker="fast, and gone")
        assert reconcile() == 0
        batch.refresh_from_db()
        pool.refresh_from_db()
        assert (batch.state, pool.failures) == (Batch.State.FAILED, 0)
        assert replenish() == 2  # smaller ones

    def test_a_late_batch_still_counts(self, pool: Pool, worker: Worker) -> None:
        batch = make_batch(pool, worker="w1", attempt=2, state=Batch.State.FAILED)
        deliver(batch, worker="back-again")
        assert ingest(batch.pk) == "ingested"
        assert level(pool).available == 4

    def test_progress_of_one_who_lost_the_order_does_not_win_it_back(
        self, pool: Pool, worker: Worker
    ) -> None:
        batch = make_batch(pool, worker="w1", attempt=2)
        progress = BatchProgress(batch_id=batch.pk, worker="back-again", fraction=0.9)
        assert not record(progress)
        batch.refresh_from_db()
        assert (batch.worker, batch.fraction) == ("w1", 0)

    def test_delivered_and_then_gone_is_ordered_again(self, pool: Pool, worker: Worker) -> None:
        there, gone = (self.overdue(pool, state=Batch.State.DELIVERED) for _ in range(2))
        deliver(there)
        assert reconcile() == 1
        there.refresh_from_db()
        gone.refresh_from_db()
        assert (there.state, gone.state) == (Batch.State.DELIVERED, Batch.State.ORDERED)

    def test_patience_grows_with_the_work(self) -> None:
        assert patience(512) > patience(8)
        assert patience(8, loading=True) == patience(8) + timedelta(seconds=120)

    def test_a_slow_worker_is_given_longer(self, pool: Pool) -> None:
        digest = pool.release.digest
        make_worker("slow", speeds={digest: 0.1}, loaded=[digest])
        Pool.objects.update(batch_size=512, high_watermark=64)
        stock(pool, 1)
        assert replenish() == 2
        first, second = (
            (batch.deadline - timezone.now()).total_seconds()
            for batch in Batch.objects.filter(state=Batch.State.ORDERED).order_by("ordered_at")
        )
        # Four images at ten seconds each, threefold, and a minute; the second waits for the first.
        assert first == pytest.approx(60 + 3 * 40, abs=3)
        assert second == pytest.approx(60 + 3 * 80, abs=3)


class TestRefusals:
    def test_the_reason_is_seen_and_no_storm_follows(self, pool: Pool, worker: Worker) -> None:
        replenish()
        batch = Batch.objects.first()
        assert batch is not None
        reason = "release abc is unknown here; copy it to STYLEDIFFUSER_RELEASES"
        assert refused(failure(batch, reason=reason))
        batch.refresh_from_db()
        pool.refresh_from_db()
        assert batch.state == Batch.State.FAILED and reason in batch.reason
        assert reason in pool.trouble
        assert replenish() == 0

    def test_the_reason_may_be_anything(self, pool: Pool, worker: Worker) -> None:
        batch = make_batch(pool)
        assert refused(failure(batch, reason="no\0file " + "x" * 1990))
        batch.refresh_from_db()
        assert batch.reason.startswith("w1: no file xx") and len(batch.reason) == 2000

    def test_one_visitors_odd_wish_does_not_stop_the_pool(self, pool: Pool, worker: Worker) -> None:
        assert refused(failure(make_batch(pool, params={"tags": ["pink hair"]})))
        pool.refresh_from_db()
        assert (pool.failures, pool.pause) == (0, 0)

    def test_another_worker_may_do_what_this_one_cannot(self, pool: Pool, worker: Worker) -> None:
        make_worker("w2")
        batch = make_batch(pool, worker="w1")
        assert refused(failure(batch, reason="the disk is full", elsewhere=True))
        assert reconcile() == 1
        batch.refresh_from_db()
        pool.refresh_from_db()
        worker.refresh_from_db()
        assert (batch.state, batch.worker, batch.attempt) == (Batch.State.ORDERED, "w2", 2)
        assert (pool.failures, worker.faults) == (0, 1)
        assert "disk is full" in batch.reason and "disk is full" in worker.last_fault

    @pytest.mark.parametrize("kind", NO_FAULT)
    def test_some_refusals_are_no_fault_of_the_worker(
        self, pool: Pool, worker: Worker, kind: str
    ) -> None:
        assert kind in {cls.kind for cls in Refusal.__subclasses__()}
        assert refused(failure(make_batch(pool, worker="w1"), kind=kind))
        worker.refresh_from_db()
        assert worker.faults == 0

    def test_handing_back_is_no_trouble_of_the_pool(self, pool: Pool, worker: Worker) -> None:
        batch = make_batch(pool, worker="w1")
        assert refused(failure(batch, kind=InMaintenance.kind, elsewhere=True))
        batch.refresh_from_db()
        pool.refresh_from_db()
        assert (batch.state, pool.failures) == (Batch.State.FAILED, 0)

    def test_where_nobody_else_is_the_pool_waits(self, pool: Pool, worker: Worker) -> None:
        batch = make_batch(pool, worker="w1")
        assert refused(failure(batch, elsewhere=True))
        batch.refresh_from_db()
        pool.refresh_from_db()
        assert batch.state == Batch.State.FAILED and pool.pause > 0

    def test_only_the_one_who_has_the_order_can_refuse_it(self, pool: Pool) -> None:
        batch = make_batch(pool, worker="w2")
        assert not refused(failure(batch, worker="w1"))

    def test_pauses_double_up_to_ten_minutes(self, pool: Pool) -> None:
        pauses = []
        for _ in range(9):
            note_trouble(pool, "again")
            pool.refresh_from_db()
            pauses.append(round(pool.pause))
        assert pauses[:3] == [15, 30, 60]
        assert pauses[-1] == 600

    def test_an_earlier_attempts_refusal_changes_nothing(self, pool: Pool) -> None:
        batch = make_batch(pool, attempt=2)
        assert not refused(failure(batch, attempt=1))
        assert not refused(failure(batch, batch_id=uuid.uuid4(), attempt=2))
        batch.refresh_from_db()
        assert batch.state == Batch.State.ORDERED

    @pytest.mark.parametrize("state", [Batch.State.INGESTED, Batch.State.QUARANTINED])
    def test_what_is_settled_stays_settled(self, pool: Pool, state: str) -> None:
        batch = make_batch(pool, state=state)
        assert not refused(failure(batch))
