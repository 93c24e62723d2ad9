"""What a demo stands on: its home for itself, its port, and free ports for its services."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path


class Taken(Exception):
    """The home or the port is in use; the message says by what and what to do."""


@contextlib.contextmanager
def hold_home(home: Path) -> Iterator[None]:
    """Only one demo at a time in a home."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "demo.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise Taken(
                f"A demo is running in {home} already (process {lock.read().strip() or '?'}). "
                "Stop it first, or give this one its own STYLEDIFFUSER_HOME and STYLEDIFFUSER_PORT."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def listen(port: int) -> socket.socket:
    """A listening socket on loopback. Bound here, so that nobody can take the port between a
    check and the web server's start, nor while the web server is started again."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=256)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Taken(
                f"Port {port} is taken by another program. Choose another one: "
                f"STYLEDIFFUSER_PORT={_suggestion(port)} make demo"
            ) from None
        raise Taken(
            f"Cannot listen on port {port}: {error.strerror}. Set STYLEDIFFUSER_PORT to a port "
            "from 1024 to 65535."
        ) from None
    except OverflowError:
        raise Taken(f"STYLEDIFFUSER_PORT={port}: ports go from 1 to 65535.") from None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _suggestion(port: int) -> int:
    for near in range(port + 1, min(port + 20, 65535)):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", near)):
            return near
    return free_port()
