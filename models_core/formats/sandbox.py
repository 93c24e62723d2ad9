"""Looking at a stranger's file in a process of its own that can do nothing else.

The reader runs nothing of a file anyway (`unpickle`); this is for the day it has a fault, and for
files made to take all memory or all time. `confined` says what the process gives up.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_core.formats.inspection import refusal
from models_core.formats.verdicts import Corrupt

SCRIPT = Path(__file__).with_name("confined.py")
MAX_ANSWER = 4 << 20  # bytes


@dataclass(frozen=True)
class Limits:
    """What one look may take. `memory` is address space, `file_size` what may be written."""

    seconds: float = 10
    memory: int = 1 << 30
    file_size: int = 0


def inspect_confined(
    path: Path, *, kind: str | None = None, limits: Limits | None = None
) -> dict[str, Any]:
    """`inspect` in a confined process; also a report where that dies or takes too long."""
    return _run(limits or Limits(), "inspect", str(_readable(path)), kind or "")


def convert_confined(
    path: Path, out: Path, *, half: bool = False, limits: Limits | None = None
) -> dict[str, Any]:
    """`convert` in a confined process: 2 GiB and ten minutes, and no more bytes than it read.

    Raises:
        ValueError: `out` exists.
        OSError: the file cannot be read.
    """
    path = _readable(path)
    if out.exists():
        raise ValueError(f"{out} exists already; choose another folder")
    largest = 8 * _bytes(path) + (64 << 20)  # one file; half precision may become single
    limits = limits or Limits(seconds=600, memory=2 << 30, file_size=largest)
    precision = "half" if half else "whole"
    out.parent.mkdir(parents=True, exist_ok=True)
    # Made here, so that nothing is left behind by a process that had to be ended.
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        written = Path(scratch).absolute() / "converted"
        report = _run(limits, "convert", str(path), str(written), precision)
        if report["state"] == "ready":
            written.rename(out)
    return report


def _readable(path: Path) -> Path:
    """The absolute path; OSError here and now where the file is missing or not ours to read."""
    if not path.is_dir():
        path.open("rb").close()
    return path.absolute()


def _bytes(path: Path) -> int:
    if path.is_dir():
        return max((file.lstat().st_size for file in path.rglob("*")), default=0)
    return path.stat().st_size


def _run(limits: Limits, what: str, *arguments: str) -> dict[str, Any]:
    numbers = (os.getpid(), limits.memory, int(limits.seconds) + 1, limits.file_size)
    command = [sys.executable, "-I", "-B", str(SCRIPT), *map(str, numbers), what, *arguments]
    process = subprocess.Popen(  # noqa: S603  our own interpreter and script
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"},  # nothing of ours to read
        cwd="/",
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limits.seconds)
    except subprocess.TimeoutExpired:
        return refusal(Corrupt(f"it could not be read within {limits.seconds:g} seconds"))
    finally:
        _end(process)
    if process.returncode == 0:
        if len(output) > MAX_ANSWER:
            return refusal(Corrupt("it describes itself at more length than any model"))
        return json.loads(output)
    lines = errors.decode(errors="replace").strip().splitlines()
    if "MemoryError" in (lines[-1] if lines else "") or process.returncode < 0:
        return refusal(Corrupt(f"it could not be read within {limits.memory >> 20:,} MiB"))
    raise OSError(f"{what} failed: {lines[-1] if lines else process.returncode}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Leave no process behind, whatever happened."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
