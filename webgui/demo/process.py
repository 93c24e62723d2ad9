"""One process of the demo: started in a session of its own, ended with all its children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before a process that died is started again: longer each time."""
HEALTHY_SECONDS = 60.0
LOG_LIMIT = 5 * 2**20
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Service:
    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    fds: tuple[int, ...] = ()
    last: bool = False
    """Ended after all others, which still talk to it while they stop."""


class Process:
    def __init__(self, service: Service) -> None:
        self.service = service
        self._popen: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._deaths = 0

    def start(self) -> None:
        self._started = time.monotonic()
        with _open_log(self.service.log) as log:
            self._popen = subprocess.Popen(  # noqa: S603
                self.service.argv,
                env=dict(self.service.env),
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self.service.fds,
                # Away from the terminal: Ctrl-C there reaches the supervisor alone.
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    def death(self) -> int | None:
        """The exit code of a process that has just died; None while it lives."""
        if self._popen is None or self._popen.poll() is None:
            return None
        code = self._popen.returncode
        self.sweep()
        self._popen = None
        return code

    def pause(self) -> float:
        """How long to wait before the next start."""
        if time.monotonic() - self._started > HEALTHY_SECONDS:
            self._deaths = 0
        self._deaths += 1
        return PAUSES[min(self._deaths, len(PAUSES)) - 1]

    def end(self) -> None:
        """Ask the process to stop."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.terminate()

    def ended(self, deadline: float) -> bool:
        if self._popen is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(max(0.0, deadline - time.monotonic()))
        return self._popen.poll() is not None

    def sweep(self) -> None:
        """Kill the process and whatever it left behind in its session."""
        if self._popen is None:
            return
        for pid in _session(self._popen.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._popen.wait()


def _end_with_parent() -> None:
    """In the new process. Should the supervisor be killed, the kernel asks its children to stop."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _session(leader: int) -> Iterator[int]:
    """Living members of the session that `leader` founded."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                # pid (name) state ppid pgrp session …; the name may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader and fields[0] != "Z":
                    yield int(entry.name)


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".old.log"))
    return path.open("ab")
