"""Bytes that stay where they are until somebody asks for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models_core.formats.verdicts import Corrupt


class Span:
    """A part of an open file, or of bytes at hand. Nothing is read before `read`."""

    __slots__ = ("size", "source", "start")

    def __init__(self, source: bytes | int, start: int, size: int) -> None:
        self.source, self.start, self.size = source, start, size

    @classmethod
    def of(cls, data: bytes) -> Span:
        return cls(data, 0, len(data))

    def __len__(self) -> int:
        return self.size

    def part(self, at: int, size: int) -> Span:
        if at < 0 or size < 0 or at + size > self.size:
            raise Corrupt(f"it ends at byte {self.size:,}, but goes on to byte {at + size:,}")
        return Span(self.source, self.start + at, size)

    def read(self, at: int = 0, size: int | None = None) -> bytes:
        """The bytes [at, at + size), all of them."""
        part = self.part(at, self.size - at if size is None else size)
        if isinstance(part.source, bytes):
            return part.source[part.start : part.start + part.size]
        pieces, got = [], 0
        while got < part.size:  # a read returns at most 2 GiB
            piece = os.pread(part.source, part.size - got, part.start + got)
            if not piece:
                raise Corrupt(f"it was cut at byte {part.start + got:,} while it was read")
            pieces.append(piece)
            got += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@contextmanager
def open_span(path: Path) -> Iterator[Span]:
    """The whole of a plain file; spans of it work until the context is left."""
    with path.open("rb") as file:
        yield Span(file.fileno(), 0, os.fstat(file.fileno()).st_size)


class Reader:
    """A cursor over a span, with the three methods that `pickletools.genops` asks of a file.

    Long byte strings (weights) are handed out as spans, so that looking through a pickle of
    many gigabytes takes little memory.
    """

    CHUNK = 1 << 16
    LONG = 1 << 20  # longer texts than this are refused, longer bytes stay on disk

    def __init__(self, span: Span, at: int = 0) -> None:
        self.span, self.at = span, at
        self._buffer, self._start = b"", at

    def tell(self) -> int:
        return self.at

    def read(self, size: int) -> bytes | Span:
        size = max(0, min(size, self.span.size - self.at))
        if size > self.LONG:
            found: bytes | Span = self.span.part(self.at, size)
        else:
            begin = self._fill(size)
            found = self._buffer[begin : begin + size]
        self.at += size
        return found

    def readline(self) -> bytes:
        """Up to and with the next line feed, or what there is within `LONG` bytes."""
        available = min(self.LONG, self.span.size - self.at)
        for reach in (min(256, available), available):
            begin = self._fill(reach)
            end = self._buffer.find(b"\n", begin, begin + reach)
            if end >= 0:
                break
        line = self._buffer[begin : end + 1] if end >= 0 else self._buffer[begin : begin + reach]
        self.at += len(line)
        return line

    def _fill(self, size: int) -> int:
        """Have `size` bytes in the buffer; where in it they begin."""
        begin = self.at - self._start
        if begin < 0 or begin + size > len(self._buffer):
            count = min(max(size, self.CHUNK), self.span.size - self.at)
            self._buffer, self._start = self.span.read(self.at, count), self.at
            return 0
        return begin
