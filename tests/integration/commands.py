"""Management commands as forks of one process that has Django ready: each is as fresh as a program
of its own, without the seconds that importing everything takes.

Run as a program it answers JSON lines, `[command, argument, …]`; `Commands` is the other end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]


class Commands:
    def __init__(self, env: Mapping[str, str]) -> None:
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.commands"],
            cwd=ROOT, env=dict(env), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, *arguments: str) -> str:
        """What the command printed; it has to succeed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(arguments) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        assert line, "the process that has Django ready has died"
        answer = json.loads(line)
        assert answer["code"] == 0, answer["said"]
        return str(answer["printed"])

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    _import_everything()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _import_everything() -> None:
    """But connect to nothing: a fork must open what it uses itself."""
    from importlib import import_module

    import django
    from django.core.management import get_commands, load_command_class

    django.setup()
    for module in ("webgui.config.urls", "webgui.config.celery"):
        import_module(module)
    for name, app in get_commands().items():
        if isinstance(app, str) and app.startswith("webgui."):
            load_command_class(app, name)


def _answer(arguments: Sequence[str]) -> dict[str, object]:
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
        pid = os.fork()
        if pid == 0:
            _run(arguments, printed, said)
        _, status = os.waitpid(pid, 0)
        for file in (printed, said):
            file.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "printed": printed.read(), "said": said.read()}


def _run(arguments: Sequence[str], printed: IO[str], said: IO[str]) -> None:
    """In the fork, which does not return from here."""
    from django.core.management import execute_from_command_line

    code = 0
    with Path(os.devnull).open() as nothing:
        for number, file in enumerate((nothing, printed, said)):
            os.dup2(file.fileno(), number)
    try:
        execute_from_command_line(["manage.py", *arguments])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
