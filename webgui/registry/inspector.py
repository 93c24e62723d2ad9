"""`python -m models_core …` on a file that may be hostile, started with none of our secrets.

`models_core.formats.confined` takes the rest away: memory, time, writing, processes, the network.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

LONGEST_OUTPUT = 4 * 2**20
GRACE_SECONDS = 5
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@dataclass(frozen=True)
class Outcome:
    """How it ended. `code` is None where time ran out, negative where a signal ended it."""

    code: int | None
    output: str
    errors: str

    @property
    def last_words(self) -> str:
        """What the process itself said of its failure."""
        lines = self.errors.strip().splitlines()
        return lines[-1][:500] if lines else ""


def run(arguments: Sequence[str], scratch: Path, seconds: int) -> Outcome:
    """A command of `models_core`; `scratch` is a folder that goes away afterwards."""
    return finished([sys.executable, "-s", "-m", "models_core", *arguments], scratch, seconds)


def finished(command: Sequence[str], scratch: Path, seconds: int) -> Outcome:
    with tempfile.TemporaryFile(dir=scratch) as out, tempfile.TemporaryFile(dir=scratch) as errors:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=settings.BASE_DIR,
            env={
                "PATH": os.defpath,
                "LANG": "C.UTF-8",
                "HOME": str(scratch),
                "TMPDIR": str(scratch),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
            preexec_fn=_give_way,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        return Outcome(code, _read(out), _read(errors))


def _give_way() -> None:
    os.nice(10)  # visitors first
    # A server that a shell started in the background ignores SIGINT, and so would this process.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # As Ctrl-C would: it ends the process it has started before it ends itself.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(LONGEST_OUTPUT).decode(errors="replace")
