"""A backup of a server that goes on handing out and taking in, brought back elsewhere: on SQLite
and on PostgreSQL, by the commands that an operator types."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.deploy import processes
from tests.deploy.database import BINARIES, database_host

COMMANDS = """
from django.core.management import CommandError, call_command
kept = {kept!r}
"""
SEED = """
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.webgui.making import *
from webgui.buffer.ingest import ingest
from webgui.registry import storage
release = make_release()
assert storage.keep_content(release.name.encode()) == release.digest
pool = make_pool(release=release)
make_worker("w1")
batch = make_batch(pool, count=32)
deliver(batch)
ingest(batch.pk)
open_order = make_batch(pool)
"""
TWO_BACKUPS = """
import time
call_command("backup", kept, keep=1)
print(time.time())
call_command("backup", kept, keep=1)
"""
CHECKED_AND_MOVED = """
call_command("restore", kept, check=True)
call_command("restore", kept, moved=True)
"""
ONCE_MORE = """
try:
    call_command("restore", kept)
except CommandError as error:
    print(error)
"""
LOOK = """
import json
from collections import Counter
from webgui.accounts import audit
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.buffer.pictures import stored
rows = list(Avatar.objects.all())
print(json.dumps({
    "claims": [str(row.pk) for row in rows if row.claimed_by],
    "states": Counter(row.state for row in rows),
    "lacking": [row.digest for row in rows if not stored(row.digest).exists()],
    "open": Batch.objects.filter(state="ordered").count(),
    "audit": [entry.act for entry in audit.of(Pool.objects.get())],
}))
"""


Places = Callable[[str], dict[str, str]]


Places = Callable[[str], dict[str, str]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with processes.public_folder(processes.MEMORY) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_place(request: Any, folder: Path) -> Iterator[Places]:
    """Settings of a server whose folders and database are empty."""
    with ExitStack() as stack:
        host = None
        if request.param == "postgresql":
            host = stack.enter_context(database_host())
            stack.enter_context(host.up())

        def place(name: str) -> dict[str, str]:
            url = f"sqlite:///{folder}/{name}/db.sqlite3"
            if host is not None:
                host.as_owner("DROP DATABASE stylediffuser WITH (FORCE)")
                host.as_owner("CREATE DATABASE stylediffuser OWNER stylediffuser")
                url = host.url
            env = processes.server_env(folder / name, DATABASE_URL=url, LOG_LEVEL="ERROR")
            return env | {"PATH": ":".join([*map(str, BINARIES[-1:]), env["PATH"]])}

        yield place


@contextmanager
def traffic(env: dict[str, str], folder: Path) -> Iterator[Path]:
    out, stop = folder / "claims", folder / "stop"
    command = [sys.executable, "-m", "tests.webgui.backup.traffic", out, stop]
    busy = lambda: out.exists() and out.read_text().count("\n") > 5  # noqa: E731
    with processes.running(command, env, folder / "traffic.log", busy) as process:
        yield out
        assert process.poll() is None, (folder / "traffic.log").read_text()
        stop.touch()
        process.wait(30)


def claims(out: Path, before: float = float("inf")) -> set[str]:
    lines = [line.split() for line in out.read_text().splitlines()]
    return {name for name, at in lines if float(at) < before}


def test_a_backup_taken_among_claims_is_whole_wherever_it_is_brought(empty_place, folder):
    busy, kept = empty_place("busy"), folder / "kept"
    commands = COMMANDS.format(kept=str(kept))
    processes.shell(busy, SEED)
    with traffic(busy, folder) as out:
        told = processes.shell(busy, commands + TWO_BACKUPS).splitlines()
        enough = len(claims(out)) + 5
        processes.wait("more claims", lambda: len(claims(out)) >= enough)
    assert [line[-2:] for line in (told[0], told[2])] == ["0.", "1."]  # older ones removed
    assert len(list(kept.glob("2*Z"))) == 1

    moved = empty_place("moved")
    whole, *_, seen = processes.shell(moved, commands + CHECKED_AND_MOVED + LOOK).splitlines()
    found = json.loads(seen)
    assert "is whole" in whole
    assert found["lacking"] == []
    assert claims(out, before=float(told[1])) <= set(found["claims"]) < claims(out)
    assert found["states"]["available"] > 0
    assert found["open"] == 1

    lost = empty_place("lost")
    assert "sync_workers" in processes.manage(lost, "restore", str(kept))
    refused, seen = processes.shell(lost, commands + ONCE_MORE + LOOK).splitlines()
    withdrawn = json.loads(seen)
    assert "not empty" in refused
    assert withdrawn["lacking"] == []
    assert withdrawn["states"] == {"claimed": sum(found["states"].values())}
    assert set(withdrawn["claims"]) == set(found["claims"])
    assert withdrawn["open"] == 0
    assert "pool.restored" in withdrawn["audit"]
