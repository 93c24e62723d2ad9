"""Delivered pictures: checked without trust, re-encoded, kept under the name of their digest.

media/avatars/ab/cd/abcd….png      the stored 512×512 PNG
media/previews/ab/cd/abcd….png     the same of what releases are judged by (webgui.studio)
media/staging/<batch>/             this ingest's, until all of a batch are good
cache/images/ab/cd/abcd….-128.webp the same in other sizes and formats
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings
from PIL import Image

from generator_worker.contract import ManifestImage

from .inbox import Refused
from .likeness import look_of

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
DECODING_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


@dataclass(frozen=True)
class Picture:
    """One good picture, re-encoded, on its way into storage."""

    listed: ManifestImage
    digest: str
    look: bytes  # from afar; see `likeness`
    bytes: int


def reencode(data: bytes, listed: ManifestImage, largest: int | None = None) -> tuple[bytes, bytes]:
    """The picture alone as a fresh PNG, without whatever else the file carried; and its look.

    It must have the avatars' size, or where `largest` is given any size up to that.
    """
    _check_header(data, listed, largest)
    try:
        # verify() finds broken chunks but not short pixel data, load() the other way round.
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.verify()
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            image.load()
            clean = image.convert("RGB")
    except DECODING_FAULTS as error:
        raise Refused(f"{listed.file} is no whole PNG: {error}") from error
    if clean.size != (listed.width, listed.height):
        raise Refused(f"{listed.file} is {clean.width}×{clean.height} pixels; not as listed.")
    clean.info.clear()
    out = io.BytesIO()
    clean.save(out, "PNG")
    return out.getvalue(), look_of(clean)


def _check_header(data: bytes, listed: ManifestImage, largest: int | None) -> None:
    """Width and height as the header says, before any decoder allocates for them."""
    if len(data) < 24 or data[:8] != PNG_SIGNATURE or data[12:16] != b"IHDR":
        raise Refused(f"{listed.file} is not a PNG.")
    width, height = struct.unpack(">II", data[16:24])
    side = settings.AVATAR_SIZE
    if largest is not None:
        if not (0 < width <= largest and 0 < height <= largest):
            raise Refused(f"{listed.file} is {width}×{height} pixels; {largest} a side is allowed.")
    elif (width, height) != (side, side):
        raise Refused(f"{listed.file} is {width}×{height} pixels; {side}×{side} is what is wanted.")
    if (width, height) != (listed.width, listed.height):
        raise Refused(
            f"{listed.file} is {width}×{height} pixels; "
            f"the manifest says {listed.width}×{listed.height}."
        )


def stored(digest: str, shelf: str = "avatars") -> Path:
    path: Path = settings.MEDIA_ROOT / shelf / digest[:2] / digest[2:4] / f"{digest}.png"
    return path


def variant(digest: str, size: int, format: str) -> Path:
    root: Path = settings.IMAGE_CACHE_ROOT
    return root / digest[:2] / digest[2:4] / f"{digest}-{size}.{format}"


class Staging:
    """Where a delivery's pictures wait until all of it is known to be good."""

    def __init__(self, name: UUID | str, shelf: str = "avatars") -> None:
        self.folder: Path = settings.MEDIA_ROOT / "staging" / str(name)
        self._shelf = shelf

    def __enter__(self) -> Staging:
        shutil.rmtree(self.folder, ignore_errors=True)  # a killed ingest's
        self.folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, listed: ManifestImage, data: bytes, look: bytes) -> Picture:
        digest = hashlib.sha256(data).hexdigest()
        with (self.folder / digest).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return Picture(listed, digest, look, len(data))

    def publish(self, pictures: list[Picture]) -> None:
        """Move them to their places for good. What is there already has the same bytes."""
        folders = set()
        for digest in {picture.digest for picture in pictures}:
            place = stored(digest, self._shelf)
            place.parent.mkdir(parents=True, exist_ok=True)
            (self.folder / digest).replace(place)
            folders.add(place.parent)
        for folder in folders:
            _sync(folder)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
