"""Deliveries: whole or not at all, twice is once, and whatever is wrong is kept out by name."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import uuid
from pathlib import Path

import pytest
from django.db import OperationalError
from django.utils import timezone
from PIL import Image

from tests.webgui.making import (
    deliver,
    inbox,
    make_batch,
    make_pool,
    make_release,
    png,
    receipts,
    stored_files,
)
from webgui.buffer import ingest as module
from webgui.buffer import pictures, trouble
from webgui.buffer.claim import claim
from webgui.buffer.ingest import Outcome, ingest, sweep
from webgui.buffer.models import Avatar, AvatarTag, Batch, Pool, Ticket
from webgui.fleet.models import Worker


def test_a_good_batch_is_taken_in_whole(pool: Pool, home: Path, sent: list) -> None:
    batch = make_batch(pool, count=3)
    deliver(batch, tags=("pink hair", "smiling"))
    assert ingest(batch.pk) == Outcome.INGESTED

    batch.refresh_from_db()
    assert (batch.state, batch.ingested_count, batch.worker) == ("ingested", 3, "w1")
    for avatar in Avatar.objects.all():
        assert avatar.state == Avatar.State.AVAILABLE
        data = pictures.stored(avatar.digest).read_bytes()
        assert hashlib.sha256(data).hexdigest() == avatar.digest
        assert len(data) == avatar.bytes
        assert sorted(avatar.tags) == ["pink hair", "smiling"]
    assert Avatar.objects.count() == 3
    assert AvatarTag.objects.filter(tag="smiling").count() == 3
    assert not inbox(batch.pk).exists()
    assert len(stored_files(home)) == 3  # nothing is left in staging
    assert receipts(sent) == [(str(batch.pk), "worker.w1")]


def test_twice_is_the_same_as_once(pool: Pool, home: Path, sent: list) -> None:
    batch = make_batch(pool, count=2)
    deliver(batch)
    ingest(batch.pk)
    before = set(Avatar.objects.values_list("pk", flat=True))
    deliver(batch)  # the receipt was lost, the worker brings it again
    assert ingest(batch.pk) == Outcome.KNOWN
    assert ingest(batch.pk, "w1") == Outcome.KNOWN  # and once more the message alone
    assert set(Avatar.objects.values_list("pk", flat=True)) == before
    assert not inbox(batch.pk).exists()
    assert len(receipts(sent)) == 3


def test_a_picture_already_here_is_not_taken_twice(pool: Pool) -> None:
    first, second = make_batch(pool, count=2), make_batch(pool, count=2)
    deliver(first, files={"a.png": png(1), "b.png": png(2)})
    deliver(second, files={"a.png": png(2), "b.png": png(3)})
    ingest(first.pk)
    ingest(second.pk)
    second.refresh_from_db()
    assert Avatar.objects.count() == 3
    assert second.ingested_count == 1


def test_the_same_picture_twice_in_one_batch_counts_once(pool: Pool) -> None:
    batch = make_batch(pool, count=2)
    deliver(batch, files={"a.png": png(1), "b.png": png(1)})
    assert ingest(batch.pk) == Outcome.INGESTED
    assert Avatar.objects.count() == 1


def test_the_sweep_finds_what_no_message_told_of(pool: Pool) -> None:
    batches = [make_batch(pool, count=1, base_seed=seed) for seed in (1, 2)]
    for batch in batches:
        deliver(batch)
    assert sweep() == {Outcome.INGESTED: 2}
    assert Avatar.objects.count() == 2


def test_a_sweep_takes_only_so_many_and_is_not_held_up_by_those_that_fail(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCHES_PER_SWEEP", 2)
    batches = [make_batch(pool, count=1, base_seed=seed) for seed in range(4)]
    for age, batch in enumerate(batches):
        os.utime(deliver(batch), (age, age))
    whole = module.ingest

    def fails_on_the_oldest(batch_id: uuid.UUID) -> Outcome:
        if batch_id == batches[0].pk:
            raise OSError("unreadable")
        return whole(batch_id)

    monkeypatch.setattr(module, "ingest", fails_on_the_oldest)
    assert sweep() == {Outcome.INGESTED: 2}
    assert sweep() == {Outcome.INGESTED: 1}
    assert inbox(batches[0].pk).exists()


def test_what_is_still_in_tmp_is_left_alone(pool: Pool, home: Path) -> None:
    batch = make_batch(pool, count=1)
    folder = deliver(batch)
    tmp = home / "sftp" / "inbox" / "tmp"
    tmp.mkdir(parents=True)
    folder.rename(tmp / str(batch.pk))
    assert sweep() == {}
    assert ingest(batch.pk) == Outcome.ABSENT
    assert (tmp / str(batch.pk) / "manifest.json").exists()


def test_fewer_images_than_ordered_are_welcome(pool: Pool) -> None:
    batch = make_batch(pool, count=4)
    deliver(batch, count=1)
    assert ingest(batch.pk) == Outcome.INGESTED


@pytest.mark.parametrize("state", [Batch.State.OVERDUE, Batch.State.FAILED])
def test_late_is_better_than_never(pool: Pool, state: str) -> None:
    batch = make_batch(pool, count=1, state=state, attempt=3)
    deliver(batch)
    assert ingest(batch.pk) == Outcome.INGESTED


def test_success_ends_the_pools_trouble(pool: Pool) -> None:
    trouble.note_trouble(pool, "something")
    batch = make_batch(pool, count=1)
    deliver(batch)
    ingest(batch.pk)
    pool.refresh_from_db()
    assert (pool.failures, pool.trouble, pool.pause) == (0, "", 0)


def test_whatever_else_a_file_carries_is_left_behind(pool: Pool) -> None:
    evil = png(7) + b"<script>alert(1)</script>"
    batch = make_batch(pool, count=1)
    deliver(batch, files={"a.png": evil})
    assert ingest(batch.pk) == Outcome.INGESTED
    data = pictures.stored(Avatar.objects.get().digest).read_bytes()
    assert b"script" not in data
    with Image.open(io.BytesIO(data)) as clean, Image.open(io.BytesIO(evil)) as given:
        assert clean.tobytes() == given.convert("RGB").tobytes()


def test_two_processes_never_work_on_one_delivery(pool: Pool) -> None:
    batch = make_batch(pool, count=1)
    handle = os.open(deliver(batch), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert ingest(batch.pk) == Outcome.BUSY
    finally:
        os.close(handle)
    assert ingest(batch.pk) == Outcome.INGESTED


class TestKilled:
    """Death at each step is followed by a sweep that makes it good."""

    def test_before_anything_is_moved(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dies_in(pool, monkeypatch, pictures.Staging, "publish")

    def test_after_the_move_before_the_commit(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.dies_in(pool, monkeypatch, module, "_commit")

    def test_inside_the_transaction(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dies_in(pool, monkeypatch, module.tickets, "serve")

    def test_after_the_commit(self, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dies_in(pool, monkeypatch, module.inbox, "remove", Outcome.KNOWN)

    def test_before_the_receipt(
        self, pool: Pool, monkeypatch: pytest.MonkeyPatch, sent: list
    ) -> None:
        batch = self.dies_in(pool, monkeypatch, module, "_answer", then=None)
        assert ingest(batch.pk, "w1") == Outcome.KNOWN  # the worker asks again
        assert receipts(sent) == [(str(batch.pk), "worker.w1")]

    def test_what_a_killed_one_left_in_staging_is_no_hindrance(self, pool: Pool) -> None:
        batch = make_batch(pool, count=1)
        deliver(batch)
        left = pictures.Staging(batch.pk).folder
        left.mkdir(parents=True)
        (left / ("0" * 64)).write_bytes(b"half")
        assert ingest(batch.pk) == Outcome.INGESTED
        assert not left.exists()

    def dies_in(
        self,
        pool: Pool,
        monkeypatch: pytest.MonkeyPatch,
        place: object,
        name: str,
        then: Outcome | None = Outcome.INGESTED,
    ) -> Batch:
        batch = make_batch(pool, count=2)
        deliver(batch)

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(place, name, killed)
            with pytest.raises(KeyboardInterrupt):
                ingest(batch.pk)
        if then is not None:
            assert sweep() == {then: 1}
        batch.refresh_from_db()
        assert (batch.state, batch.ingested_count) == (Batch.State.INGESTED, 2)
        assert Avatar.objects.count() == 2
        assert all(pictures.stored(avatar.digest).exists() for avatar in Avatar.objects.all())
        return batch


def test_a_full_disk_is_nobodys_fault(
    pool: Pool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(pool, count=2)
    deliver(batch)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pictures.os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            ingest(batch.pk)
        assert sweep() == {}  # logged, and the next sweep tries again
    assert not stored_files(home) and not Avatar.objects.exists()
    assert ingest(batch.pk) == Outcome.INGESTED


def test_a_failing_database_is_nobodys_fault(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = make_batch(pool, count=1)
    deliver(batch)

    def down(*_: object) -> None:
        raise OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_rows", down)
        with pytest.raises(OperationalError):
            ingest(batch.pk)
    assert inbox(batch.pk).exists()
    assert ingest(batch.pk) == Outcome.INGESTED


class TestTickets:
    def test_the_longest_waiting_are_served_first(self, pool: Pool, worker: Worker) -> None:
        tickets = [claim(client=f"visitor:{name}").ticket for name in "abc"]
        batch = make_batch(pool, count=2)
        deliver(batch)
        ingest(batch.pk)
        states = [Ticket.objects.get(pk=ticket.pk).state for ticket in tickets if ticket]
        assert states == ["served", "served", "waiting"]
        served = Ticket.objects.filter(state="served")
        assert {ticket.avatar.claimed_by for ticket in served if ticket.avatar} == {
            "visitor:a",
            "visitor:b",
        }
        # Nothing is left for a newcomer, who joins the line behind.
        assert claim(client="visitor:d").ticket is not None

    def test_tags_are_respected(self, pool: Pool, worker: Worker) -> None:
        pink = claim("toon", ["pink hair"], client="visitor:a").ticket
        plain = claim("toon", client="visitor:b").ticket
        batch = make_batch(pool, count=2)
        deliver(batch, tags=("black hair",))
        ingest(batch.pk)
        assert pink is not None and plain is not None
        pink.refresh_from_db()
        plain.refresh_from_db()
        assert (pink.state, plain.state) == ("waiting", "served")
        batch = make_batch(pool, count=1, base_seed=5)
        deliver(batch, tags=("pink hair",))
        ingest(batch.pk)
        pink.refresh_from_db()
        assert pink.avatar is not None and pink.avatar.tags == ["pink hair"]

    def test_the_expired_get_nothing(self, pool: Pool, worker: Worker) -> None:
        claim(client="visitor:a")
        Ticket.objects.update(expires_at=timezone.now())
        batch = make_batch(pool, count=1)
        deliver(batch)
        ingest(batch.pk)
        assert Avatar.objects.get().state == Avatar.State.AVAILABLE


def test_another_pools_batch_serves_its_own_line_only(pool: Pool, worker: Worker) -> None:
    claim("toon", client="visitor:a")
    other = make_pool("pixel", release=make_release("pixel"))
    batch = make_batch(other, count=1)
    deliver(batch)
    ingest(batch.pk)
    assert Ticket.objects.get().state == Ticket.State.WAITING
