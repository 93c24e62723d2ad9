"""The database as one file, and back, by its own means, while others write to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from .archive import BackupFault


def dump(target: Path) -> None:
    """The database as it is at one moment."""
    if connection.vendor == "sqlite":
        # Readers do not hinder writers (WAL), so this takes as long as it takes.
        with sqlite3.connect(f"file:{_sqlite_file()}?mode=ro", uri=True) as source:
            source.execute("VACUUM INTO ?", (str(target),))
        source.close()
    else:
        _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file", str(target))


def load(source: Path) -> None:
    """Fill an empty database: all of it or nothing."""
    if connection.vendor == "sqlite":
        place = _sqlite_file()
        connection.close()
        draft = place.with_name(f".{place.name}.restored")
        shutil.copyfile(source, draft)
        draft.chmod(0o600)
        draft.replace(place)
    else:
        connection.close()
        options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
        _run("pg_restore", *options, str(source))


def is_empty() -> bool:
    return not connection.introspection.table_names()


def applied() -> list[str]:
    """The migrations that this database has."""
    names = MigrationRecorder(connection).applied_migrations()
    return sorted(".".join(name) for name in names)


def known() -> set[str]:
    """The migrations that this version of the program has."""
    return {".".join(name) for name in MigrationLoader(None).disk_migrations}


def _sqlite_file() -> Path:
    return Path(connection.settings_dict["NAME"])


def _run(program: str, *options: str) -> None:
    """A client of PostgreSQL's, on our database. The password is not among its arguments."""
    arguments, env = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    *where, database = arguments[1:]
    host = connection.settings_dict.get("OPTIONS", {}).get("host")
    env = {**os.environ, **(env or {}), **({"PGHOST": host} if host else {})}
    command = [program, *options, *where, "--dbname", database]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise BackupFault(
            f"{program} is not here. Install PostgreSQL's client, of the server's version or a "
            "newer one (Debian: postgresql-client)."
        ) from error
    if done.returncode:
        raise BackupFault(f"{program} did not do it: {done.stderr.strip() or done.returncode}")
