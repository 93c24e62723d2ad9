"""A web server of its own for uploads, which can be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PREPARE = """
from django.core.management import call_command
from django.contrib.auth.models import User
call_command("migrate", verbosity=0)
User.objects.create(username="keeper", is_staff=True)
call_command("add_token", "keeper")
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class UploadServer:
    """gunicorn as the demo runs it, with a home of its own and nobody behind the broker."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home, self.port = home, free_port()
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("STYLEDIFFUSER_")},
            "DJANGO_SETTINGS_MODULE": "webgui.config.settings",
            "STYLEDIFFUSER_HOME": str(home),
            "STYLEDIFFUSER_BROKER_URL": "memory://",
            "STYLEDIFFUSER_LOG_LEVEL": "ERROR",
            **{f"STYLEDIFFUSER_{name}": value for name, value in settings.items()},
        }
        self.token = self.manage("shell", "--no-imports", "-c", PREPARE).split()[-1]
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "webgui.config.wsgi"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--worker-class", "gthread"]
        command += ["--threads", "8", "--log-level", "error", "--no-control-socket"]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=self.env, start_new_session=True, stdin=subprocess.DEVNULL
        )
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.05)
        raise AssertionError("the web server did not start")

    def kill(self) -> None:
        """All of it at once, as a power cut would."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def memory(self) -> int:
        """Bytes resident in the process that answers requests."""
        assert self.process is not None
        return max(child.memory_info().rss for child in psutil.Process(self.process.pid).children())


@contextlib.contextmanager
def running(home: Path, **settings: str) -> Iterator[UploadServer]:
    server = UploadServer(home, **settings)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def sampled(of: Any, seconds: float = 0.05) -> tuple[threading.Event, list[int]]:
    """Calls `of` again and again in a thread; set the event to end it."""
    stop, seen = threading.Event(), []

    def look() -> None:
        while not stop.wait(seconds):
            with contextlib.suppress(psutil.Error, ValueError):
                seen.append(of())

    threading.Thread(target=look, daemon=True).start()
    return stop, seen
