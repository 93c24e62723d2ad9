"""Redis with deploy/redis's settings, and the commands that make workers' accounts there."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from django.core.management import CommandError, call_command

from generator_worker.contract import worker_account
from tests.deploy import processes

PASSWORDS = {"server": "the-server-s-password", "admin": "the-admin-s-password"}


@dataclass
class Broker:
    folder: Path
    port: int

    def url(self, user: str) -> str:
        return f"redis://{user}:{PASSWORDS[user]}@127.0.0.1:{self.port}/0"

    def client(self, user: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(user))

    @contextmanager
    def up(self) -> Iterator[None]:
        env = {
            **processes.clean_env(),
            "DATA": str(self.folder),
            "PORT": str(self.port),
            "SERVER_PASSWORD_FILE": str(self.folder / "server"),
            "ADMIN_PASSWORD_FILE": str(self.folder / "admin"),
        }
        start = processes.DEPLOY / "redis" / "start.sh"
        command = [start, "--bind", "127.0.0.1"]
        log = self.folder / "log"
        with processes.running(command, env, log, lambda: processes.listens(self.port)):
            yield

    def restart_at(self, port: int) -> Broker:
        return Broker(self.folder, port)

    def forget_workers(self) -> None:
        admin = self.client("admin")
        for user in admin.execute_command("ACL", "USERS"):
            if user.decode().startswith(worker_account("")):
                admin.execute_command("ACL", "DELUSER", user)
        self.client("server").flushdb()


@dataclass
class Door:
    """The broker, seen from a server whose database is the test's."""

    broker: Broker

    def manage(self, *arguments: str, fails: bool = False) -> str:
        out = io.StringIO()
        try:
            call_command(*arguments, stdout=out)
        except CommandError as error:
            assert fails, error
            return str(error)
        assert not fails, out.getvalue()
        return out.getvalue()

    def admit(self, name: str, *options: str) -> dict[str, str]:
        """The settings that the command prints."""
        lines = self.manage("add_worker", name, *options).splitlines()
        return dict(line.split("=", 1) for line in lines if line.startswith("STYLEDIFFUSER_"))

    def inside(self, env: dict[str, str]) -> redis.Redis:
        """A connection as the worker with these settings has it."""
        return redis.Redis.from_url(env["STYLEDIFFUSER_BROKER_URL"])


@contextmanager
def broker_host(folder: Path) -> Iterator[Broker]:
    processes.need("redis-server")
    for name, password in PASSWORDS.items():
        (folder / name).write_text(password + "\n")
    made = Broker(folder, processes.free_port())
    with made.up():
        yield made


def door_to(broker: Broker, home: Path, settings: Any) -> Door:
    """With settings as the server in production has them."""
    broker.forget_workers()
    settings.BROKER_ADMIN_URL = broker.url("admin")
    settings.WORKERS_BROKER = broker.url("server")
    settings.WORKERS_SFTP = "127.0.0.1:2222"
    settings.SFTP_ACCOUNTS = home / "accounts"
    (home / "sftp").mkdir()
    (home / "sftp" / "host_key.pub").write_text("ssh-ed25519 AAAA\n")
    return Door(broker)
