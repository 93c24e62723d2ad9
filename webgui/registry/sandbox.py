"""`python -m models_core …` on a file that may be hostile: in a process with nothing to lose.

Its environment has no secrets, it sees no network where the kernel lets it be taken away, it may
use so much memory, time and disk and no more, and it ends with whoever started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

MIB = 2**20
LONGEST_OUTPUT = 4 * MIB
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Limits:
    seconds: int
    memory: int  # bytes of address space
    written: int  # bytes of one file


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


def run(arguments: Sequence[str], scratch: Path, limits: Limits) -> Outcome:
    """A command of `models_core`; `scratch` is where it may write."""
    return confined([sys.executable, "-s", "-m", "models_core", *arguments], scratch, limits)


def confined(command: Sequence[str], scratch: Path, limits: Limits) -> Outcome:
    with tempfile.TemporaryFile(dir=scratch) as out, tempfile.TemporaryFile(dir=scratch) as errors:
        process = subprocess.Popen(  # noqa: S603
            command,
            cwd=settings.BASE_DIR,
            env=_environment(scratch),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            start_new_session=True,
            preexec_fn=_confine(limits),
        )
        try:
            code = process.wait(limits.seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Outcome(code, _read(out), _read(errors))


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(LONGEST_OUTPUT).decode(errors="replace")


def _environment(scratch: Path) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",  # each thread's stack and arena count as memory
        "OPENBLAS_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }


def _confine(limits: Limits) -> Callable[[], None]:
    bounds = {
        resource.RLIMIT_AS: limits.memory,
        resource.RLIMIT_CPU: limits.seconds,
        resource.RLIMIT_FSIZE: limits.written,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 256,
    }

    def confine() -> None:
        os.nice(10)  # visitors first
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        # A network of its own has no way out. Where neither is allowed there is still nothing
        # of the file that runs.
        if _libc.unshare(CLONE_NEWNET) != 0:
            _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
        for which, most in bounds.items():
            resource.setrlimit(which, (most, most))

    return confine
