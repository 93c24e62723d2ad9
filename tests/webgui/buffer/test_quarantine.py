"""Deliveries with something wrong: kept out whole, each with a reason a person can read."""

from __future__ import annotations

import io
import json
import os
import struct
import uuid
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.webgui.making import (
    deliver,
    inbox,
    listing,
    make_batch,
    make_worker,
    manifest,
    png,
    quarantined,
    receipts,
    stored_files,
    write_manifest,
)
from webgui.buffer import replenish
from webgui.buffer.ingest import Outcome, ingest, sweep
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.fleet.models import Worker


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


def test_a_fault_counts_against_who_had_the_order(pool: Pool, worker: Worker) -> None:
    """Whatever name the manifest bears: else one worker could have another put aside."""
    other = make_worker("other")
    batch = make_batch(pool, count=1, worker=worker.name)
    folder = inbox(batch.pk)
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"no picture")
    content = manifest(batch, [listing("a.png", b"no picture")]) | {"worker": other.name}
    write_manifest(folder, content)
    assert ingest(batch.pk, other.name) == Outcome.QUARANTINED
    for row in (worker, other):
        row.refresh_from_db()
    assert (worker.faults, other.faults) == (1, 0)


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
