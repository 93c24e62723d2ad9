"""Waiting in line: place, expected time, real progress, and an end to every wait."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from generator_worker.contract import BatchProgress
from tests.webgui.making import make_batch, make_worker, stock
from webgui.buffer import progress, tickets
from webgui.buffer.claim import claim
from webgui.buffer.models import Avatar, Batch, Pool, Ticket
from webgui.buffer.trouble import note_trouble
from webgui.fleet.models import Worker


@pytest.fixture
def line(pool: Pool, worker: Worker) -> list[Ticket]:
    """Three in line, in this order."""
    found = [claim(client=f"visitor:{name}").ticket for name in "abc"]
    return [ticket for ticket in found if ticket is not None]


def test_places_are_in_the_order_of_coming(line: list[Ticket]) -> None:
    assert [progress.outlook(ticket).position for ticket in line] == [1, 2, 3]
    Ticket.objects.filter(pk=line[0].pk).update(state=Ticket.State.EXPIRED)
    assert [progress.outlook(ticket).position for ticket in line[1:]] == [1, 2]


def test_progress_and_expected_time_are_the_workers_own(line: list[Ticket], pool: Pool) -> None:
    batch = make_batch(pool, count=4)  # at a second an image
    before = progress.outlook(line[0])
    assert (before.progress, before.eta_seconds) == (0.0, 7)
    message = BatchProgress(batch_id=batch.pk, worker="w1", fraction=0.75, note="drawing 4 of 4")
    assert progress.record(message)
    after = progress.outlook(line[0])
    assert (after.progress, after.note, after.eta_seconds) == (0.75, "drawing 4 of 4", 4)


def test_a_workers_note_may_be_anything(pool: Pool) -> None:
    batch = make_batch(pool)
    message = BatchProgress(batch_id=batch.pk, worker="w1", fraction=0.5, note="a\0b")
    assert progress.record(message)
    batch.refresh_from_db()
    assert batch.note == "a b"


def test_whoever_is_behind_the_batch_waits_for_the_next(line: list[Ticket], pool: Pool) -> None:
    make_batch(pool, count=2)
    first, _, third = (progress.outlook(ticket).eta_seconds for ticket in line)
    assert (first, third) == (5, 9)  # two images, then a batch of four more


def test_nobody_can_tell_without_a_worker(line: list[Ticket], pool: Pool, worker: Worker) -> None:
    make_batch(pool, count=4, note="drawing")
    worker.delete()
    outlook = progress.outlook(line[0])
    assert outlook.eta_seconds is None and "No worker" in outlook.note


@pytest.mark.parametrize(("why", "said"), [("paused", "paused"), ("failing", "tried again")])
def test_nobody_can_tell_when_no_more_is_ordered(
    line: list[Ticket], pool: Pool, why: str, said: str
) -> None:
    make_batch(pool, count=2, note="drawing")
    if why == "paused":
        Pool.objects.update(paused=True)
    else:
        note_trouble(pool, "no")
    first, _, third = (progress.outlook(Ticket.objects.get(pk=ticket.pk)) for ticket in line)
    assert (first.eta_seconds, first.note) == (5, "drawing")  # that much is under way
    assert third.eta_seconds is None and said in third.note


def test_only_batches_with_the_tags_count(pool: Pool, worker: Worker) -> None:
    ticket = claim("toon", ["pink hair"], client="visitor:a").ticket
    assert ticket is not None
    make_batch(pool, count=4, fraction=0.5, note="drawing any")
    outlook = progress.outlook(ticket)
    assert (outlook.eta_seconds, outlook.progress) == (9, 0.0)
    assert "another batch first" in outlook.note
    make_batch(pool, count=2, params={"tags": ["pink hair", "smiling"]})
    assert progress.outlook(ticket).eta_seconds == 7


def test_more_workers_are_quicker(line: list[Ticket], pool: Pool) -> None:
    make_batch(pool, count=4)
    make_worker("w2")
    assert progress.outlook(line[0]).eta_seconds == 5


def test_a_sign_of_life_pushes_the_deadline_and_revives_the_overdue(pool: Pool) -> None:
    soon = timezone.now() + timedelta(seconds=1)
    batch = make_batch(pool, state=Batch.State.OVERDUE, deadline=soon)
    progress.record(BatchProgress(batch_id=batch.pk, worker="w1", fraction=0.1))
    batch.refresh_from_db()
    assert batch.state == Batch.State.ORDERED
    assert batch.deadline > timezone.now() + timedelta(seconds=30)


def test_progress_of_a_settled_or_unknown_batch_changes_nothing(pool: Pool) -> None:
    batch = make_batch(pool, state=Batch.State.INGESTED)
    for batch_id in (batch.pk, uuid.uuid4()):
        assert not progress.record(BatchProgress(batch_id=batch_id, worker="w1", fraction=0.5))
    batch.refresh_from_db()
    assert (batch.state, batch.fraction) == (Batch.State.INGESTED, 0)


def test_a_wait_has_an_end(line: list[Ticket]) -> None:
    Ticket.objects.filter(pk=line[0].pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    polled = tickets.poll(line[0].pk)
    assert polled is not None and polled.state == Ticket.State.EXPIRED
    assert progress.outlook(polled) == progress.Outlook()


def test_the_abandoned_expire_and_the_asking_stay(line: list[Ticket]) -> None:
    Ticket.objects.update(polled_at=timezone.now() - timedelta(seconds=80))
    tickets.poll(line[1].pk)
    Ticket.objects.exclude(pk=line[1].pk).update(polled_at=timezone.now() - timedelta(seconds=91))
    assert tickets.expire_overdue() == 2
    assert [Ticket.objects.get(pk=t.pk).state for t in line] == ["expired", "waiting", "expired"]


def test_an_expired_ticket_is_never_served(line: list[Ticket], pool: Pool) -> None:
    Ticket.objects.filter(pk=line[0].pk).update(polled_at=timezone.now() - timedelta(hours=1))
    stock(pool, 1)
    assert tickets.serve_everywhere() == 1
    assert Ticket.objects.get(pk=line[1].pk).avatar is not None
    assert Ticket.objects.get(pk=line[0].pk).avatar is None


def test_one_who_waits_for_rare_tags_holds_nobody_up(pool: Pool, worker: Worker) -> None:
    rare = claim("toon", ["pink hair"], client="visitor:a").ticket
    plain = claim("toon", client="visitor:b").ticket
    stock(pool, 1, ("black hair",))
    assert tickets.serve_everywhere() == 1
    assert rare is not None and plain is not None
    assert Ticket.objects.get(pk=plain.pk).state == "served"
    assert Ticket.objects.get(pk=rare.pk).state == "waiting"


def test_the_long_settled_are_forgotten_and_their_avatars_kept(
    line: list[Ticket], pool: Pool
) -> None:
    stock(pool, 1)
    tickets.serve_everywhere()
    Ticket.objects.filter(state="served").update(settled_at=timezone.now() - timedelta(days=8))
    assert tickets.forget_old() == 1
    assert Ticket.objects.count() == 2 and Avatar.objects.get().state == "claimed"


def test_an_unknown_ticket_is_none(db: None) -> None:
    assert tickets.poll(uuid.uuid4()) is None
