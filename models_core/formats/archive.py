"""Zip files from strangers: what they hold is looked at before anything is unpacked."""

from __future__ import annotations

import encodings.cp437  # noqa: F401  what zip names need, imported before any file is read
import io
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

from models_core.formats.spans import Span
from models_core.formats.verdicts import Corrupt, Unsafe, shown

MAX_ENTRIES = 25_000
MAX_DIRECTORY = 16 << 20  # bytes of the zip's own list of entries
MAX_RATIO = 20  # unpacked bytes for each packed one, over the whole archive
END, END64, LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"


class Archive:
    """A zip file whose list of entries has been checked."""

    def __init__(self, span: Span) -> None:
        self.span = span
        _check_directory_size(span)
        try:
            self.zip = zipfile.ZipFile(_File(span))
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as e:
            raise Corrupt(f"its zip archive is broken: {e}") from e
        self.entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self.zip.infolist():
            self._check(entry)
            if not entry.is_dir():
                self.entries[entry.filename] = entry
        unpacked = sum(entry.file_size for entry in self.entries.values())
        if unpacked > MAX_RATIO * span.size:
            raise Corrupt(
                f"its zip archive of {span.size:,} bytes would unpack to {unpacked:,}: a zip bomb"
            )

    @property
    def names(self) -> list[str]:
        return list(self.entries)

    def _check(self, entry: zipfile.ZipInfo) -> None:
        name = entry.filename
        if name in self.entries:
            raise Corrupt(f"its zip archive holds {shown(name)} twice")
        parts = name.rstrip("/").split("/")
        if "\\" in name or name.startswith("/") or {"..", ".", ""} & set(parts) or ":" in name:
            raise Unsafe(shown(name), "a path that leaves the archive")
        mode = entry.external_attr >> 16
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
            raise Unsafe(shown(name), "a link or a device instead of a file")
        if entry.flag_bits & 1:
            raise Corrupt(f"{shown(name)} in its zip archive is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Corrupt(f"{shown(name)} in its zip archive is packed in an unusual way")

    def check_stored(self) -> None:
        """As torch writes zips: nothing packed, and no more bytes than the file has."""
        for name, entry in self.entries.items():
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise Corrupt(f"{shown(name)} is packed, which torch never does: a zip bomb?")
        if sum(entry.file_size for entry in self.entries.values()) > self.span.size:
            raise Corrupt("its entries have more bytes than the file: they overlap")

    def stored(self, name: str) -> Span:
        """Where an unpacked entry's bytes lie."""
        if name not in self.entries:
            raise Corrupt(f"it lacks {shown(name)}")
        entry = self.entries[name]
        header = self.span.read(entry.header_offset, 30)
        if header[:4] != b"PK\x03\x04":
            raise Corrupt(f"{shown(name)} does not begin where the zip archive says")
        name_size, extra_size = struct.unpack("<HH", header[26:30])
        return self.span.part(entry.header_offset + 30 + name_size + extra_size, entry.file_size)

    def read(self, name: str, limit: int) -> bytes:
        """A whole entry of at most `limit` bytes, its checksum compared."""
        entry = self.entries[name]
        if entry.file_size > limit:
            raise Corrupt(
                f"{shown(name)} has {entry.file_size:,} bytes; at most {limit:,} are read"
            )
        return self._read(name, -1)

    def copy(self, name: str, target: BinaryIO) -> None:
        """Unpack an entry into an open file; its checksum is compared."""
        with self._opened(name) as file:
            shutil.copyfileobj(file, target, 1 << 20)

    def start(self, name: str, size: int) -> bytes:
        """An entry's first `size` bytes."""
        return self._read(name, min(size, self.entries[name].file_size))

    def _read(self, name: str, size: int) -> bytes:
        with self._opened(name) as file:
            return file.read(size)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self.zip.open(name) as file:
                yield file
        except (
            *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, _Outside),
            *(NotImplementedError, RuntimeError, ValueError),
        ) as error:
            raise Corrupt(f"{shown(name)} in its zip archive is broken: {error}") from error


def _check_directory_size(span: Span) -> None:
    """Before `zipfile` reads the whole list of entries into memory."""
    tail_start = max(0, span.size - 65_557)
    tail = span.read(tail_start)
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < 22:
        raise Corrupt("its zip archive has no end: it was cut")
    count, size = struct.unpack("<HI", tail[at + 10 : at + 16])
    if at >= 20 and tail[at - 20 : at - 16] == LOCATOR64:
        (end64,) = struct.unpack("<Q", tail[at - 12 : at - 4])
        record = span.read(end64, 56) if end64 + 56 <= span.size else b""
        if record[:4] != END64:
            raise Corrupt("its zip archive's end is broken")
        count, size = struct.unpack("<QQ", record[32:48])
    if count > MAX_ENTRIES or size > MAX_DIRECTORY:
        raise Corrupt(
            f"its zip archive lists {count:,} files in {size:,} bytes; "
            f"at most {MAX_ENTRIES:,} and {MAX_DIRECTORY:,} are read"
        )


class _Outside(OSError):
    """A place outside the file; an OSError, since zipfile tries a few."""


class _File(io.RawIOBase):
    """A span as a file for `zipfile`."""

    def __init__(self, span: Span) -> None:
        self.span, self.at = span, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.span.size}[whence]
        if base + offset < 0:
            raise _Outside("a place before the file's beginning")
        self.at = base + offset
        return self.at

    def readinto(self, buffer: Any) -> int:
        data = self.span.read(self.at, max(0, min(len(buffer), self.span.size - self.at)))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        left = max(0, self.span.size - self.at)
        data = self.span.read(min(self.at, self.span.size), left if size < 0 else min(size, left))
        self.at += len(data)
        return data
