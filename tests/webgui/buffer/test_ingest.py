"""Deliveries: whole or not at all, twice is once, and whatever is wrong is kept out by name."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import struct
import uuid
import zlib
from pathlib import Path

import pytest
from django.db import OperationalError
from django.utils import timezone
from PIL import Image

from generator_worker.contract import BATCH_RECEIVED
from tests.webgui.making import (
    deliver,
    inbox,
    listing,
    make_batch,
    make_pool,
    make_release,
    manifest,
    png,
    write_manifest,
)
from webgui.buffer import ingest as module
from webgui.buffer import pictures, replenish
from webgui.buffer.claim import claim
from webgui.buffer.ingest import Outcome, ingest, sweep
from webgui.buffer.models import Avatar, AvatarTag, Batch, Pool, Ticket
from webgui.fleet.models import Worker


def quarantined(home: Path) -> list[tuple[Path, str]]:
    """(what was delivered, the reason beside it)"""
    return [
        (place / "delivered", (place / "REASON.txt").read_text().strip())
        for place in sorted((home / "quarantine").glob("*"))
    ]


def receipts(sent: list) -> list[tuple[str, str]]:
    return [(message["batch_id"], q) for task, message, q in sent if task == BATCH_RECEIVED]


def stored_files(home: Path) -> list[Path]:
    return [path for path in (home / "media").rglob("*") if path.is_file()]


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
    replenish.note_trouble(pool, "something")
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


def header_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class Fault:
    """Ways to spoil a good delivery of two files, each with a part of the reason expected."""

    @staticmethod
    def wrong_digest(folder: Path, content: dict) -> str:
        content["images"][0]["sha256"] = "0" * 64
        return "digest"

    @staticmethod
    def flipped_byte(folder: Path, content: dict) -> str:
        data = bytearray((folder / "a.png").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "a.png").write_bytes(data)
        return "digest"

    @staticmethod
    def wrong_size_in_bytes(folder: Path, content: dict) -> str:
        content["images"][0]["bytes"] += 1
        return "bytes"

    @staticmethod
    def missing_file(folder: Path, content: dict) -> str:
        (folder / "b.png").unlink()
        return "missing: 'b.png'"

    @staticmethod
    def extra_file(folder: Path, content: dict) -> str:
        (folder / "c.png").write_bytes(png(3))
        return "not listed: 'c.png'"

    @staticmethod
    def extra_folder(folder: Path, content: dict) -> str:
        (folder / "more").mkdir()
        return "not listed: 'more'"

    @staticmethod
    def path_upwards(folder: Path, content: dict) -> str:
        (folder.parent / "outside.png").write_bytes((folder / "a.png").read_bytes())
        content["images"][0]["file"] = "../outside.png"
        return "images.0.file"

    @staticmethod
    def absolute_path(folder: Path, content: dict) -> str:
        content["images"][0]["file"] = "/etc/passwd"
        return "images.0.file"

    @staticmethod
    def listed_twice(folder: Path, content: dict) -> str:
        content["images"][1] = content["images"][0]
        (folder / "b.png").unlink()
        return "twice"

    @staticmethod
    def symlink(folder: Path, content: dict) -> str:
        target = folder.parents[3] / "outside.png"
        target.write_bytes((folder / "a.png").read_bytes())
        (folder / "a.png").unlink()
        (folder / "a.png").symlink_to(target)
        return "a.png is missing or is no plain file"

    @staticmethod
    def symlinked_manifest(folder: Path, content: dict) -> str:
        target = folder.parents[3] / "outside.json"
        target.write_text(json.dumps(content))
        (folder / "manifest.json").symlink_to(target)
        return "manifest.json is missing or is no plain file"

    @staticmethod
    def named_pipe(folder: Path, content: dict) -> str:
        (folder / "a.png").unlink()
        os.mkfifo(folder / "a.png")
        return "a.png is no plain file"

    @staticmethod
    def no_manifest(folder: Path, content: dict) -> str:
        content.clear()
        return "manifest.json is missing"

    @staticmethod
    def broken_manifest(folder: Path, content: dict) -> str:
        (folder / "manifest.json").write_text("{")
        return "not JSON"

    @staticmethod
    def deep_manifest(folder: Path, content: dict) -> str:
        (folder / "manifest.json").write_text("[" * 500_000)
        return "not JSON"

    @staticmethod
    def huge_manifest(folder: Path, content: dict) -> str:
        (folder / "manifest.json").write_text(" " * 3_000_000)
        return "larger than"

    @staticmethod
    def unknown_contract(folder: Path, content: dict) -> str:
        content["contract"] = 2
        return "contract 2"

    @staticmethod
    def unknown_field(folder: Path, content: dict) -> str:
        content["surprise"] = True
        return "surprise"

    @staticmethod
    def nul_in_a_key(folder: Path, content: dict) -> str:
        content["a\0b"] = True
        return "a b"

    @staticmethod
    def endless_key(folder: Path, content: dict) -> str:
        content["a" * 100_000] = True
        return "aaa…"

    @staticmethod
    def nul_in_a_tag(folder: Path, content: dict) -> str:
        content["images"][0]["tags"] = ["pink\0hair"]
        return "pink hair"

    @staticmethod
    def another_batchs(folder: Path, content: dict) -> str:
        content["batch_id"] = str(uuid.uuid4())
        return "not of this folder"

    @staticmethod
    def another_release(folder: Path, content: dict) -> str:
        content["release_digest"] = "a" * 64
        return "ordered was"

    @staticmethod
    def unknown_tag(folder: Path, content: dict) -> str:
        content["images"][0]["tags"] = ["green hair"]
        return "green hair"

    @staticmethod
    def truncated_png(folder: Path, content: dict) -> str:
        _replace(folder, content, png(1)[:-200])
        return "no whole PNG"

    @staticmethod
    def bomb(folder: Path, content: dict) -> str:
        _replace(folder, content, header_png(50_000, 50_000), width=50_000, height=50_000)
        return "50000×50000"

    @staticmethod
    def bomb_declared_small(folder: Path, content: dict) -> str:
        _replace(folder, content, header_png(50_000, 50_000))
        return "50000×50000"

    @staticmethod
    def other_size_than_listed(folder: Path, content: dict) -> str:
        _replace(folder, content, png(1, size=256))
        return "256×256"

    @staticmethod
    def small_picture(folder: Path, content: dict) -> str:
        _replace(folder, content, png(1, size=256), width=256, height=256)
        return "256×256 pixels; 512×512 is what is wanted"

    @staticmethod
    def other_size_than_the_manifest_says(folder: Path, content: dict) -> str:
        _replace(folder, content, png(1), width=256, height=256)
        return "the manifest says 256×256"

    @staticmethod
    def short_pixel_data(folder: Path, content: dict) -> str:
        _replace(folder, content, header_png(512, 512))
        return "no whole PNG"

    @staticmethod
    def jpeg(folder: Path, content: dict) -> str:
        out = io.BytesIO()
        Image.new("RGB", (512, 512)).save(out, "JPEG")
        _replace(folder, content, out.getvalue())
        return "not a PNG"


def _replace(folder: Path, content: dict, data: bytes, **changes: int) -> None:
    (folder / "a.png").write_bytes(data)
    content["images"][0] = listing("a.png", data, **changes)


FAULTS = [name for name in vars(Fault) if not name.startswith("_")]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_batch_is_quarantined_whole(
    pool: Pool, home: Path, sent: list, worker: Worker, fault: str
) -> None:
    batch = make_batch(pool, count=2, worker="w1")
    folder = inbox(batch.pk)
    folder.mkdir(parents=True)
    files = {"a.png": png(1), "b.png": png(2)}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    content = manifest(batch, [listing(name, data) for name, data in files.items()])
    expected = getattr(Fault, fault)(folder, content)
    if content and not os.path.lexists(folder / "manifest.json"):
        write_manifest(folder, content)
    outside = {path: path.read_bytes() for path in home.glob("outside*")}

    assert ingest(batch.pk, "w1") == Outcome.QUARANTINED

    batch.refresh_from_db()
    assert batch.state == Batch.State.QUARANTINED
    assert expected in batch.reason
    assert not Avatar.objects.exists()
    assert not stored_files(home)
    assert not folder.exists()
    ((delivered, reason),) = quarantined(home)
    assert reason == batch.reason
    assert (delivered / "b.png").exists() == (fault not in ("missing_file", "listed_twice"))
    assert {path: path.read_bytes() for path in home.glob("outside*")} == outside
    assert receipts(sent) == [(str(batch.pk), "worker.w1")]
    # Another batch takes its place at once.
    assert replenish.replenish() > 0
    assert Batch.objects.filter(state=Batch.State.ORDERED).exclude(pk=batch.pk).exists()


def test_more_images_than_ordered_are_refused(pool: Pool) -> None:
    batch = make_batch(pool, count=1)
    deliver(batch, count=2)
    assert ingest(batch.pk) == Outcome.QUARANTINED


def test_an_unordered_batch_is_quarantined_with_its_reason(
    pool: Pool, home: Path, sent: list
) -> None:
    batch = make_batch(pool, count=1)
    deliver(batch)
    batch_id = batch.pk
    batch.delete()
    assert sweep() == {Outcome.QUARANTINED: 1}
    ((delivered, reason),) = quarantined(home)
    assert "never ordered" in reason and (delivered / "1000.png").exists()
    assert receipts(sent) == [(str(batch_id), "worker.w1")]


@pytest.mark.parametrize("name", ["stray.txt", "not-a-batch", "F" * 32])
def test_strays_in_the_inbox_are_moved_away(pool: Pool, home: Path, name: str) -> None:
    inbox("x").mkdir(parents=True)
    inbox("x").rename(inbox(name))
    assert sweep() == {Outcome.QUARANTINED: 1}
    assert not inbox(name).exists()


def test_a_link_or_file_in_a_batchs_place_is_moved_not_followed(pool: Pool, home: Path) -> None:
    secret = home / "secret"
    secret.mkdir()
    (secret / "manifest.json").write_text("{}")
    linked, plain = make_batch(pool), make_batch(pool)
    inbox("x").parent.mkdir(parents=True)
    inbox(linked.pk).symlink_to(secret)
    inbox(plain.pk).write_text("hello")
    assert sweep() == {Outcome.QUARANTINED: 2}
    linked.refresh_from_db()
    assert "not a folder that" in linked.reason
    assert (secret / "manifest.json").exists()


class TestOtherFileSystem:
    """Quarantine where a rename does not lead."""

    @pytest.fixture(autouse=True)
    def no_rename(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def rename(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "rename", rename)

    def test_what_was_delivered_is_copied(self, pool: Pool, home: Path) -> None:
        batch = make_batch(pool, count=1)
        folder = deliver(batch, contract=9)
        (folder / "link").symlink_to(home)
        os.mkfifo(folder / "pipe")
        assert ingest(batch.pk) == Outcome.QUARANTINED
        ((delivered, reason),) = quarantined(home)
        assert "contract 9" in reason and not folder.exists()
        assert (delivered / "1000.png").exists() and (delivered / "link").is_symlink()
        assert not (delivered / "pipe").exists()

    def test_a_move_that_fails_leaves_nothing_half_done(
        self, pool: Pool, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batch = make_batch(pool, count=1)
        folder = deliver(batch, contract=9)

        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(module.inbox.shutil, "copy2", full)
            with pytest.raises(OSError, match="No space"):
                ingest(batch.pk)
        assert (folder / "1000.png").exists() and not quarantined(home)
        assert ingest(batch.pk) == Outcome.KNOWN
        assert len(quarantined(home)) == 1 and not folder.exists()


def test_a_delivery_that_cannot_be_removed_is_told_of(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batch = make_batch(pool, count=1)
    deliver(batch)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError("denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", denied)
        module.inbox.remove(batch.pk)
    assert "cannot be removed from the inbox" in caplog.text
    module.inbox.remove(batch.pk)
    module.inbox.remove(batch.pk)
    assert not inbox(batch.pk).exists()


def test_what_vanishes_while_the_inbox_is_listed_is_passed_over(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, there = (deliver(make_batch(pool, count=1)) for _ in range(2))
    listed = list(os.scandir(gone.parent))
    shutil.rmtree(gone)
    monkeypatch.setattr(os, "scandir", lambda _: listed)
    assert module.inbox.waiting_names() == [there.name]


def test_a_quarantined_batch_brought_again_stays_out(pool: Pool, home: Path, sent: list) -> None:
    batch = make_batch(pool, count=1, state=Batch.State.QUARANTINED, reason="bad")
    deliver(batch)
    assert ingest(batch.pk) == Outcome.KNOWN
    assert not Avatar.objects.exists() and not inbox(batch.pk).exists()
    assert [reason for _, reason in quarantined(home)] == ["bad"]


def test_a_batch_without_an_image_is_settled_and_slows_the_orders_down(pool: Pool) -> None:
    for params, pauses in (({"tags": ["pink hair"]}, False), ({}, True)):
        batch = make_batch(pool, params=params)
        deliver(batch, count=0)
        assert ingest(batch.pk) == Outcome.INGESTED
        pool.refresh_from_db()
        assert (pool.pause > 0) == pauses


def test_quarantines_in_a_row_slow_the_orders_down(pool: Pool, worker: Worker) -> None:
    for again in range(3):
        batch = make_batch(pool, count=1)
        deliver(batch, contract=9)
        ingest(batch.pk)
        pool.refresh_from_db()
        assert (pool.pause > 0) == (again > 0)
    assert replenish.replenish() == 0


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
