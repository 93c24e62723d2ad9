"""Programs that the benches run to their end or talk to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run(argv: Sequence[str | Path], env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> str:
    """What it printed."""
    command = [str(part) for part in argv]
    done = subprocess.run(
        command, cwd=cwd, env=None if env is None else dict(env), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def manage(env: Mapping[str, str], *arguments: str) -> str:
    return run([sys.executable, "manage.py", *arguments], env)


class Talker:
    """A management command that answers each line of JSON with another."""

    def __init__(self, env: Mapping[str, str], *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            env=dict(env),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return json.loads(answer)

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
