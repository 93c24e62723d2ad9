"""A load generator: so many clients on kept connections, each making one visit after another.

A visit is a generator that yields requests and is sent their answers, so that one may claim an
avatar and then ask for its picture. One thread and one selector: the generator takes little of
the cores that the servers are measured on, and the same of ours as of the reference's.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

Answer = tuple[int, bytes]
"""Status and body."""
Visit = Generator[bytes, Answer, None]
STALE_SECONDS = 30.0


@dataclass
class Load:
    """What a stretch of load came to."""

    seconds: float = 0.0
    bytes: int = 0
    waits: list[float] = field(default_factory=list)
    """Seconds that each visit took."""

    @property
    def rate(self) -> float:
        return len(self.waits) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.waits)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    fields = {"Host": "127.0.0.1"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    if body:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def press(port: int, visit: Callable[[], Visit], clients: int, visits: int) -> Load:
    """`clients` at once until `visits` are made between them."""
    load = Load()
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        left = _Count(visits)
        callers = [_Caller(port, visit, load, left, selector) for _ in range(clients)]
        for caller in callers:
            caller.begin()
        while selector.get_map():
            ready = selector.select(STALE_SECONDS)
            if not ready:
                raise RuntimeError(f"no answer in {STALE_SECONDS:.0f} s")
            for key, _ in ready:
                key.data.read()
    load.seconds = time.perf_counter() - began
    return load


@dataclass
class _Count:
    left: int

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


class _Caller:
    """One client's connection."""

    def __init__(
        self,
        port: int,
        visit: Callable[[], Visit],
        load: Load,
        count: _Count,
        selector: selectors.BaseSelector,
    ) -> None:
        self._port, self._visit, self._load = port, visit, load
        self._count, self._selector = count, selector
        self._buffer = bytearray(1 << 20)
        self._view = memoryview(self._buffer)
        self._sock: socket.socket | None = None

    def begin(self) -> None:
        """The next visit, or the end of this client."""
        if not self._count.take():
            self._hang_up()
            return
        self._going = self._visit()
        self._began = time.perf_counter()
        self._send(next(self._going))

    def _send(self, data: bytes) -> None:
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", self._port))
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._sock, selectors.EVENT_READ, self)
        self._filled, self._end, self._body = 0, 0, 0
        self._sock.sendall(data)

    def read(self) -> None:
        assert self._sock is not None
        got = self._sock.recv_into(self._view[self._filled :])
        if not got:
            raise RuntimeError(f"cut off after {bytes(self._view[: min(self._filled, 300)])!r}")
        self._filled += got
        if not self._end:
            self._read_head()
        if self._end and self._filled >= self._end:
            self._answered()

    def _read_head(self) -> None:
        at = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if at < 0:
            return
        head = bytes(self._view[:at]).lower()
        self._body = at + 4
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if not found:
            raise RuntimeError(f"an answer of unknown length: {head!r}")
        self._end = self._body + int(rest.split(b"\r\n", 1)[0])
        self._status = int(head[9:12])
        self._keep = b"\r\nconnection: close" not in head

    def _answered(self) -> None:
        answer = self._status, bytes(self._view[self._body : self._end])
        self._load.bytes += self._end - self._body
        if not self._keep:
            self._hang_up()
        try:
            self._send(self._going.send(answer))
        except StopIteration:
            self._load.waits.append(time.perf_counter() - self._began)
            self.begin()

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._selector.unregister(self._sock)
            self._sock.close()
            self._sock = None


def asking(data: bytes, status: int = 200) -> Callable[[], Visit]:
    """Visits of this one request."""

    def visit() -> Visit:
        got, body = yield data
        if got != status:
            raise RuntimeError(f"{got} instead of {status}: {body[:500]!r}")

    return visit
