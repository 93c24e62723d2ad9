"""tus 1.0, request by request: what is taken, what is refused, and that refusals harm nothing."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import namedtuple
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.test import Client
from django.utils import timezone

from generator_worker.contract import INGEST_QUEUE
from tests.webgui.api.admin.uploading import UPLOADS, Tus, sum_of
from tests.webgui.api.asking import problem_of
from webgui.registry import digests, uploads
from webgui.registry.models import Checkpoint, Upload
from webgui.registry.problems import ChecksumMismatch, WrongOffset
from webgui.registry.receiving import Checksum, receive

DATA = bytes(range(256)) * 20


@pytest.fixture
def tus(client: Client, bearer: dict[str, str]) -> Tus:
    return Tus(client, bearer)


def kept(url: str) -> bytes:
    """The acknowledged bytes on the disk."""
    upload = Upload.objects.select_related("checkpoint").get(pk=url.rstrip("/").rpartition("/")[2])
    return upload.checkpoint.original.read_bytes()[: upload.offset]


def test_what_the_server_can_do_is_told_without_a_token(client: Client, db: None) -> None:
    response = client.options(UPLOADS)
    assert response.status_code == 204
    assert response["Tus-Version"] == "1.0.0"
    assert response["Tus-Extension"] == "creation,checksum,expiration,termination"
    assert response["Tus-Max-Size"] == str(16384 * 2**20)
    assert response["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_in_two_pieces(tus: Tus, staff: Any, sent: list) -> None:
    url = tus.begun(len(DATA), filename="../../a nice\x07 hat.safetensors")
    first = tus.send(url, 0, DATA[:1000])
    assert (first.status_code, first["Upload-Offset"]) == (204, "1000")
    assert first["Tus-Resumable"] == "1.0.0" and "Upload-Expires" in first
    assert "Checkpoint" not in first
    standing = tus.head(url)
    assert (standing["Upload-Offset"], standing["Upload-Length"]) == ("1000", str(len(DATA)))
    assert standing["Cache-Control"] == "no-store" and standing["Upload-Metadata"]
    last = tus.send(url, 1000, DATA[1000:])
    assert last["Upload-Offset"] == str(len(DATA)) and "Upload-Expires" not in last
    report = tus.report(last["Checkpoint"])
    assert report["sha256"] == hashlib.sha256(DATA).hexdigest()
    assert (report["state"], report["size"]) == ("inspecting", len(DATA))
    assert (report["name"], report["uploaded_by"]) == ("a nice hat.safetensors", staff.username)
    assert sent == [("registry.inspect", {"checkpoint_id": report["id"]}, INGEST_QUEUE)]
    # Who missed the last answer asks, and is told the same.
    assert tus.head(url)["Checkpoint"] == last["Checkpoint"]
    assert Checkpoint.objects.get().original.read_bytes() == DATA


def test_wrong_offsets_change_nothing(tus: Tus) -> None:
    url = tus.begun(len(DATA))
    tus.send(url, 0, DATA[:1000])
    for offset in (0, 999, 1001, len(DATA)):
        body = problem_of(tus.send(url, offset, b"x" * 10), 409, "wrong_offset")
        assert "1000" in body["detail"]
    assert kept(url) == DATA[:1000]
    assert tus.send(url, 1000, DATA[1000:]).status_code == 204
    assert kept(url) == DATA


def test_a_wrong_checksum_takes_nothing(tus: Tus) -> None:
    url = tus.begun(len(DATA))
    tus.send(url, 0, DATA[:1000], Upload_Checksum=sum_of(DATA[:1000]))
    wrong = tus.send(url, 1000, DATA[1000:2000], Upload_Checksum=sum_of(b"other"))
    problem_of(wrong, 460, "checksum_mismatch")
    assert tus.offset(url) == 1000 and kept(url) == DATA[:1000]
    right = sum_of(DATA[1000:], "sha256")
    last = tus.send(url, 1000, DATA[1000:], Upload_Checksum=right)
    assert tus.report(last["Checkpoint"])["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_more_than_announced_is_refused(tus: Tus) -> None:
    url = tus.begun(1000)
    tus.send(url, 0, DATA[:600])
    problem_of(tus.send(url, 600, DATA[600:1001]), 413, "beyond_length")
    assert tus.offset(url) == 600 and kept(url) == DATA[:600]


def test_too_large_a_file_is_refused_before_it_is_sent(tus: Tus, settings) -> None:
    settings.UPLOAD_MAX_MIB = 1
    body = problem_of(tus.begin(2**20 + 1), 413, "file_too_large")
    assert "UPLOAD_MAX_MIB" in body["detail"]
    assert tus.begin(2**20).status_code == 201
    assert Checkpoint.objects.count() == 1


def test_the_quota_counts_what_is_half_done(tus: Tus, settings) -> None:
    settings.CHECKPOINT_QUOTA_MIB = 1
    url = tus.begun(2**20 - 10)
    problem_of(tus.begin(11), 507, "disk_full")
    tus.end(url)
    assert tus.begin(11).status_code == 201


def test_a_disk_too_small_is_told_before_anything_is_sent(tus: Tus, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")(2**40, 2**40 - uploads.RESERVE, uploads.RESERVE)
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: usage)
    body = problem_of(tus.begin(1), 507, "disk_full")
    assert "make room" in body["detail"]
    assert not Checkpoint.objects.exists()


def test_a_full_disk_keeps_what_has_arrived(tus: Tus, monkeypatch) -> None:
    url = tus.begun(len(DATA))
    tus.send(url, 0, DATA[:1000])
    write = os.pwrite

    def half_then_full(fd: int, data: Any, at: int) -> int:
        if at >= 1500:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data[: 1500 - at], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half_then_full)
        problem_of(tus.send(url, 1000, DATA[1000:]), 507, "disk_full")
    assert tus.offset(url) == 1000
    assert Checkpoint.objects.get().original.read_bytes() == DATA[:1000]
    last = tus.send(url, 1000, DATA[1000:])
    assert tus.report(last["Checkpoint"])["sha256"] == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize("broken", [b"", ConnectionResetError()])
def test_a_broken_connection_keeps_what_has_arrived(tus: Tus, broken: Any) -> None:
    url = tus.begun(len(DATA))
    upload = uploads.find(Upload.objects.get().pk)

    def reading(*blocks: Any) -> Any:
        return Mock(side_effect=blocks)

    receive(upload, 0, len(DATA), reading(DATA[:1000], DATA[1000:3000], broken), None)
    assert tus.offset(url) == 3000 and kept(url) == DATA[:3000]
    told = Checksum("sha256", hashlib.sha256(DATA[3000:]).digest())
    with pytest.raises(ChecksumMismatch):
        receive(upload, 3000, 2120, reading(DATA[3000:4000], broken), told)
    assert tus.offset(url) == 3000
    assert Checkpoint.objects.get().original.stat().st_size == 3000


def test_the_digest_goes_on_in_another_process(tus: Tus) -> None:
    url = tus.begun(len(DATA))
    tus.send(url, 0, DATA[:1234])
    digests._running.clear()  # what a restart leaves of it
    last = tus.send(url, 1234, DATA[1234:])
    assert tus.report(last["Checkpoint"])["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_bytes_never_acknowledged_do_not_count(tus: Tus) -> None:
    """A process killed between writing and acknowledging leaves more in the file than it said."""
    url = tus.begun(len(DATA))
    tus.send(url, 0, DATA[:1000])
    with Checkpoint.objects.get().original.open("ab") as file:
        file.write(b"?" * 9000)
    last = tus.send(url, 1000, DATA[1000:])
    assert Checkpoint.objects.get().original.read_bytes() == DATA
    assert tus.report(last["Checkpoint"])["sha256"] == hashlib.sha256(DATA).hexdigest()


def test_killed_after_the_last_byte_and_before_the_answer(tus: Tus, monkeypatch, sent) -> None:
    url = tus.begun(len(DATA))
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "finish", lambda upload: upload)
        tus.send(url, 0, DATA)
    assert Checkpoint.objects.get().state == "uploading"
    uploads.tidy()
    assert Checkpoint.objects.get().sha256 == hashlib.sha256(DATA).hexdigest()
    assert len(sent) == 1


def test_a_known_file_is_not_sent_twice(tus: Tus) -> None:
    known = tus.whole(DATA, filename="first.pkl")
    sha256 = hashlib.sha256(DATA).hexdigest()
    again = tus.begin(len(DATA), filename="second.pkl", sha256=sha256)
    assert again.status_code == 201 and again["Checkpoint"] == known
    assert again["Upload-Offset"] == str(len(DATA)) == str(tus.offset(again["Location"]))
    assert Checkpoint.objects.count() == 1


def test_a_file_that_is_half_here_is_gone_on_with(tus: Tus) -> None:
    """By whoever announces the same digest: after a lost script, or in another browser."""
    sha256 = hashlib.sha256(DATA).hexdigest()
    url = tus.begun(len(DATA), filename="hat.pkl", sha256=sha256)
    tus.send(url, 0, DATA[:1000])
    again = tus.begin(len(DATA), filename="hat (1).pkl", sha256=sha256)
    assert (again.status_code, again["Location"], again["Upload-Offset"]) == (201, url, "1000")
    tus.begun(len(DATA) + 1, sha256=sha256)  # no such file can be
    assert Checkpoint.objects.count() == 2
    assert tus.report(tus.send(url, 1000, DATA[1000:])["Checkpoint"])["sha256"] == sha256


def test_a_file_found_to_be_known_is_not_kept_twice(tus: Tus, settings) -> None:
    known = tus.whole(DATA, filename="first.pkl")
    url = tus.begun(len(DATA), filename="second.pkl")
    assert Checkpoint.objects.count() == 2
    assert tus.send(url, 0, DATA)["Checkpoint"] == known == tus.head(url)["Checkpoint"]
    checkpoint = Checkpoint.objects.get()
    assert list(settings.UPLOAD_ROOT.iterdir()) == [checkpoint.original]
    assert tus.end(url).status_code == 204  # the upload's memory goes, the checkpoint stays
    assert Checkpoint.objects.get().original.read_bytes() == DATA


def test_a_file_that_is_not_what_was_announced(tus: Tus, settings) -> None:
    url = tus.begun(len(DATA), sha256="0" * 64)
    problem_of(tus.send(url, 0, DATA), 460, "checksum_mismatch")
    assert tus.head(url).status_code == 404
    assert not Checkpoint.objects.exists() and not list(settings.UPLOAD_ROOT.iterdir())


def test_a_newer_request_takes_over_from_a_dead_one(tus: Tus, monkeypatch) -> None:
    """The older one, woken late, writes nothing any more."""
    url = tus.begun(len(DATA))
    upload = uploads.find(Upload.objects.get().pk)
    pieces = iter([b"?" * 1000])

    def slowly(size: int) -> bytes:
        assert tus.send(url, 0, DATA[:2000]).status_code == 204  # meanwhile, by another
        return next(pieces)

    with pytest.raises(WrongOffset):
        receive(upload, 0, 1000, slowly, None)
    assert tus.offset(url) == 2000 and kept(url) == DATA[:2000]
    assert Checkpoint.objects.get().original.stat().st_size == 2000


def test_given_up(tus: Tus, settings) -> None:
    url = tus.begun(len(DATA))
    tus.send(url, 0, DATA[:1000])
    assert tus.end(url).status_code == 204
    assert tus.head(url).status_code == 404
    problem_of(tus.send(url, 1000, DATA[1000:]), 404, "not_found")
    assert not Checkpoint.objects.exists() and not list(settings.UPLOAD_ROOT.iterdir())


def test_half_done_uploads_expire_and_whole_ones_are_kept(tus: Tus, settings) -> None:
    half, other = tus.begun(len(DATA)), tus.begun(len(DATA))
    tus.send(half, 0, DATA[:1000])
    whole = tus.whole(DATA + b"!")
    long_ago = timezone.now() - timedelta(hours=settings.UPLOAD_EXPIRY_HOURS, minutes=1)
    Upload.objects.exclude(pk=other.rstrip("/").rpartition("/")[2]).update(touched_at=long_ago)
    assert uploads.tidy() == 1
    assert tus.head(half).status_code == 404 and tus.head(other).status_code == 200
    assert tus.report(whole)["state"] == "inspecting"
    assert len(list(settings.UPLOAD_ROOT.iterdir())) == 2


def test_nothing_in_an_empty_file_is_waited_for(tus: Tus) -> None:
    response = tus.begin(0, filename="empty.pkl")
    assert tus.report(response["Checkpoint"])["sha256"] == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("header", "value", "status", "code"),
    [
        ("Tus-Resumable", "0.2.2", 412, "tus_version"),
        ("Upload-Length", "-1", 400, "bad_upload"),
        ("Upload-Length", "1.5", 400, "bad_upload"),
        ("Upload-Length", "9" * 30, 400, "bad_upload"),
        ("Upload-Length", "٣", 400, "bad_upload"),
        ("Upload-Metadata", "filename %%%", 400, "bad_upload"),
        ("Upload-Metadata", ",,", 400, "bad_upload"),
        ("Upload-Metadata", "a YQ==,a YQ==", 400, "bad_upload"),
        ("Upload-Metadata", "sha256 YQ==", 400, "bad_upload"),
        ("Upload-Metadata", "a " + "YQ==" * 2000, 400, "bad_upload"),
    ],
)
def test_headers_not_as_tus_has_them(
    tus: Tus, header: str, value: str, status: int, code: str
) -> None:
    headers = {**tus.headers, "Upload-Length": "10", header: value}
    problem_of(tus.client.post(UPLOADS, headers=headers), status, code)
    assert not Checkpoint.objects.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Upload_Offset": "x"},
        {"Upload_Checksum": "md5 YQ=="},
        {"Upload_Checksum": "sha1 YQ=="},
        {"Upload_Checksum": "sha1 %"},
        {"Content_Length": ""},
    ],
)
def test_bodies_not_as_tus_has_them(tus: Tus, headers: dict[str, str]) -> None:
    url = tus.begun(10)
    problem_of(tus.send(url, 0, b"x", **headers), 400, "bad_upload")
    problem_of(tus.send(url, 0, b"x", Content_Type="text/plain"), 415, "unsupported_media_type")
    assert tus.offset(url) == 0


def test_the_method_in_a_header(tus: Tus) -> None:
    url = tus.begun(10)
    headers = {**tus.headers, "X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0"}
    kind = "application/offset+octet-stream"
    response = tus.client.post(url, b"0123456789", content_type=kind, headers=headers)
    assert response.status_code == 204 and "Checkpoint" in response
