"""PostgreSQL as Debian has it, with deploy/postgres's settings."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.deploy import processes

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PASSWORD = "the-database-s-password"  # noqa: S105
START = processes.DEPLOY / "postgres" / "start.sh"


@dataclass(frozen=True)
class Database:
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return self.url_of("stylediffuser")

    def url_of(self, user: str, password: str = PASSWORD, name: str = "stylediffuser") -> str:
        return f"postgres://{user}:{password}@127.0.0.1:{self.port}/{name}"

    @property
    def env(self) -> dict[str, str]:
        path = os.pathsep.join([*map(str, BINARIES[-1:]), os.environ["PATH"]])
        return {
            **processes.clean_env(),
            "PATH": path,
            "DATA": str(self.folder / "data"),
            "RUN": str(self.folder / "run"),
            "PORT": str(self.port),
            "PASSWORD_FILE": str(self.folder / "password"),
        }

    def as_owner(self, statement: str) -> None:
        """On the database's own host, through its socket."""
        command = ["psql", "-h", self.folder / "run", "-p", str(self.port), "-qc", statement]
        subprocess.run([*command, "postgres"], env=self.env, check=True, cwd="/", **somebody())

    def answers(self, password: str) -> bool:
        try:
            psycopg.connect(self.url_of("stylediffuser", password), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    @contextmanager
    def up(self, password: str = PASSWORD) -> Iterator[None]:
        (self.folder / "password").write_text(password + "\n")
        log = self.folder / "log"
        command = [START, "-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=32MB"]
        options = {"cwd": self.folder, **somebody()}
        with processes.running(command, self.env, log, lambda: self.answers(password), **options):
            yield


def somebody() -> dict[str, Any]:
    """PostgreSQL refuses to be started by root."""
    return {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}


@contextmanager
def database_host() -> Iterator[Database]:
    """One that is not up yet."""
    if not BINARIES and shutil.which("postgres") is None:
        processes.lacking("postgresql")
    with processes.public_folder(processes.MEMORY) as folder:
        for name in ("data", "run"):
            (folder / name).mkdir(mode=0o700)
            if owner := somebody():
                shutil.chown(folder / name, pwd.getpwnam(owner["user"]).pw_uid)
        yield Database(folder, processes.free_port())
