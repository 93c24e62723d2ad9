"""An avatar's picture in the size and format asked for: made once, then read from disk."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from PIL import Image

from .models import Avatar
from .pictures import stored, variant, write_atomically
from .problems import BadFormat, BadSize, NotFound

SMALLEST, LARGEST = 32, 512
FORMATS = {"png": "image/png", "webp": "image/webp"}
# Every size is served, but only these are kept: 481 files an avatar would let anyone fill a disk.
KEPT_SIZES = frozenset({32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512})


def read_size(text: str | None) -> int:
    if text is None:
        return LARGEST
    if text.isascii() and text.isdigit() and len(text) <= 4:
        size = int(text)
        if SMALLEST <= size <= LARGEST:
            return size
    raise BadSize(
        f"size={text[:40]!r}: give a whole number of pixels from {SMALLEST} to {LARGEST}.",
        field="size",
        accepted=[f"{SMALLEST}–{LARGEST}"],
    )


def read_format(text: str | None) -> str:
    if text is None:
        return "png"
    if text in FORMATS:
        return text
    raise BadFormat(
        f"format={text[:40]!r}: give png or webp.", field="format", accepted=list(FORMATS)
    )


def render(avatar: Avatar, size: int, format: str) -> bytes:
    """The encoded picture, `size` pixels a side."""
    if _is_original(avatar, size, format):
        return _read_stored(avatar)
    path = variant(avatar.digest, size, format)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        data = _encode(_read_stored(avatar), size, format)
    if size in KEPT_SIZES:
        # A full disk costs the time to make it again, not the answer.
        with contextlib.suppress(OSError):
            write_atomically(path, data)
    return data


def on_disk(avatar: Avatar, size: int, format: str) -> Path | None:
    """The file with this picture, for a web server that sends files; made where it is missing.

    None where it is not one that is kept, or no disk takes it: then `render` has the bytes.
    """
    original = _is_original(avatar, size, format)
    path = stored(avatar.digest) if original else variant(avatar.digest, size, format)
    if not path.is_file():
        if size not in KEPT_SIZES:
            return None
        render(avatar, size, format)
    return path if path.is_file() else None


def _is_original(avatar: Avatar, size: int, format: str) -> bool:
    return format == "png" and size == avatar.width == avatar.height


def _read_stored(avatar: Avatar) -> bytes:
    try:
        return stored(avatar.digest).read_bytes()
    except FileNotFoundError as error:
        raise NotFound("The picture of this avatar is gone from the server's disk.") from error


def _encode(original: bytes, size: int, format: str) -> bytes:
    with Image.open(io.BytesIO(original), formats=("PNG",)) as image:
        picture = image.convert("RGB")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    if format == "webp":
        picture.save(out, "WEBP", quality=90, method=4)
    else:
        picture.save(out, "PNG")
    return out.getvalue()
