"""Real programs with the configuration files that we ship, on loopback, in folders of the test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
# Where there is none, on the disk. What is tested there is not how long a disk takes.
MEMORY = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp")  # noqa: S108


def need(*programs: str, root: bool = False) -> None:
    """Skip, saying what is missing; where CI runs it is a failure."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])
    missing = [name for name in programs if shutil.which(name, path=search) is None]
    if root and os.geteuid() != 0:
        missing.append("root's rights")
    if missing:
        lacking(*missing)


def lacking(*things: str) -> None:
    why = f"needs {', '.join(things)}"
    pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)


@contextlib.contextmanager
def public_folder(parent: Path = Path("/tmp")) -> Iterator[Path]:  # noqa: S108
    """A folder that programs reach which root starts and which then become somebody else."""
    with tempfile.TemporaryDirectory(prefix="stylediffuser-deploy-", dir=parent) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def clean_env(**settings: str) -> dict[str, str]:
    """The environment without a developer's settings, with these."""
    kept = {key: value for key, value in os.environ.items() if "STYLEDIFFUSER" not in key}
    kept.pop("DJANGO_SETTINGS_MODULE", None)
    kept["PATH"] = kept.get("PATH", "") + ":/usr/sbin:/sbin"
    return kept | {f"STYLEDIFFUSER_{name}": value for name, value in settings.items()}


def server_env(home: Path, **settings: str) -> dict[str, str]:
    settings = {"HOME": str(home), "BROKER_URL": "redis://127.0.0.1:1/0"} | settings
    return clean_env(**settings) | {"DJANGO_SETTINGS_MODULE": "webgui.config.settings"}


def manage(env: Mapping[str, str], *arguments: str, fails: bool = False, **options: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "webgui", *arguments],
        cwd=ROOT, env=dict(env), capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def shell(env: Mapping[str, str], code: str) -> str:
    return manage(env, "shell", "--no-imports", "-c", code)


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    env: Mapping[str, str],
    log: Path,
    ready: Callable[[], Any],
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a session of its own, up before it is handed over, gone afterwards."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=dict(env), cwd=options.pop("cwd", ROOT), stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True, **options,
        )  # fmt: skip
    try:
        wait(f"{command[0]} to be up", ready, alive=process, log=log)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait(
    what: str,
    holds: Callable[[], Any],
    seconds: float = 30,
    alive: subprocess.Popen[bytes] | None = None,
    log: Path | None = None,
) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        ended = alive is not None and alive.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-4000:] if log else ""
            raise AssertionError(f"{'It ended' if ended else 'Waited'}: {what}\n{tail}")
        time.sleep(0.1)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
