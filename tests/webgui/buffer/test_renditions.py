"""Pictures in other sizes and formats."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.webgui.making import deliver, make_batch
from webgui.buffer import renditions
from webgui.buffer.ingest import ingest
from webgui.buffer.models import Avatar, Pool
from webgui.buffer.pictures import stored, variant
from webgui.buffer.problems import BadFormat, BadSize, NotFound
from webgui.buffer.renditions import read_format, read_size, render


@pytest.fixture
def avatar(pool: Pool) -> Avatar:
    batch = make_batch(pool, count=1)
    deliver(batch)
    ingest(batch.pk)
    return Avatar.objects.get()


@pytest.mark.parametrize("format", ["png", "webp"])
@pytest.mark.parametrize("size", [32, 100, 128, 512])
def test_every_size_and_format(avatar: Avatar, size: int, format: str) -> None:
    with Image.open(io.BytesIO(render(avatar, size, format))) as image:
        assert image.size == (size, size)
        assert image.format == format.upper()


def test_the_full_png_is_the_stored_file(avatar: Avatar) -> None:
    assert render(avatar, 512, "png") == stored(avatar.digest).read_bytes()


def test_it_is_made_once(avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    first = render(avatar, 128, "webp")
    assert variant(avatar.digest, 128, "webp").read_bytes() == first
    monkeypatch.setattr(renditions, "_encode", None)
    assert render(avatar, 128, "webp") == first


def test_odd_sizes_are_not_kept(avatar: Avatar) -> None:
    render(avatar, 101, "webp")
    assert not variant(avatar.digest, 101, "webp").exists()


def test_a_full_disk_does_not_stop_it(avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(renditions, "write_atomically", full)
    assert render(avatar, 64, "png")


def test_a_lost_file_is_said_to_be_lost(avatar: Avatar, home: Path) -> None:
    shutil.rmtree(home / "media")
    with pytest.raises(NotFound):
        render(avatar, 512, "png")


@pytest.mark.parametrize(
    "text", ["31", "513", "0", "-64", "64.0", "", "abc", "1e2", "9" * 99, "٦٤", " 64"]
)
def test_a_size_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(BadSize) as refused:
        read_size(text)
    assert refused.value.field == "size"


@pytest.mark.parametrize("text", ["jpg", "PNG", "", "svg"])
def test_an_unknown_format_is_refused(text: str) -> None:
    with pytest.raises(BadFormat) as refused:
        read_format(text)
    assert refused.value.accepted == ["png", "webp"]
