"""The embedded SFTP server, run inside the test process on a free loopback port."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from webgui.sftp.keys import Keys, ensure_keys
from webgui.sftp.server import USER, listen


@dataclass(frozen=True)
class Served:
    root: Path
    keys: Keys
    port: int

    @property
    def env(self) -> dict[str, str]:
        """A worker's settings for this server."""
        return {
            "STYLEDIFFUSER_SFTP_PORT": str(self.port),
            "STYLEDIFFUSER_SFTP_USER": USER,
            "STYLEDIFFUSER_SFTP_KEY": str(self.keys.worker_key),
            "STYLEDIFFUSER_SFTP_HOST_KEY": self.keys.host_key_line,
        }


@contextmanager
def serving(home: Path, sock: socket.socket | None = None) -> Iterator[Served]:
    keys = ensure_keys(home / "keys")
    sock = sock or socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(10)

    async def close(acceptor):
        acceptor.close()

    acceptor = call(listen(sock, home / "sftp", keys))
    try:
        yield Served(home / "sftp", keys, port)
    finally:
        call(close(acceptor))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
