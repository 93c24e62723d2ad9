"""The process in which a stranger's file is looked at. Run by `sandbox`, never imported.

Before anything of the file is read, this process gives up what it does not need: memory, time,
new files, new processes and the network.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
libc = ctypes.CDLL(None, use_errno=True)
# Events of Python's own audit (PEP 578) that no reading of a file causes.
FORBIDDEN = (
    *("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
    *("pty.", "ctypes.", "pickle.find_class", "webbrowser.", "urllib.", "ftplib.", "smtplib."),
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def set_limits(memory: int, seconds: int, file_size: int) -> None:
    """Hard limits: not to be raised again, also by what might run here by mistake.

    Whoever started this may have set stricter ones, which only root could raise.
    """
    for kind, limit in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        _, given = resource.getrlimit(kind)
        most = limit if given == resource.RLIM_INFINITY else min(limit, given)
        resource.setrlimit(kind, (most, most))


def leave_network() -> bool:
    """Move to a network of one's own without any interface; whether that could be done.

    As root a new network suffices; everybody else needs a new user namespace with it, which
    some hosts forbid. Sockets are refused by the audit hook either way.
    """
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return any(libc.unshare(flags) == 0 for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET))


def end_with(parent: int) -> None:
    """Die when the process that started this one does. A new user namespace forgets it."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("nobody waits for an answer any more")


def forbid(writing: bool) -> None:
    """From now on an attempt at any of these ends the process with an error."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(FORBIDDEN):
            raise PermissionError(f"{event} is not allowed here")
        if event == "open" and not writing and isinstance(args[2], int) and args[2] & WRITING:
            raise PermissionError(f"{args[0]!r} must not be written")

    sys.addaudithook(hook)


def main() -> int:
    """Arguments: parent memory seconds file_size what ARGUMENTS…; the answer is JSON on stdout."""
    parent, memory, seconds, file_size = (int(argument) for argument in sys.argv[1:5])
    set_limits(memory, seconds, file_size)
    isolated = leave_network()
    end_with(parent)
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import json

    from models_core.formats import work

    what, *arguments = sys.argv[5:]
    if what == "convert":
        import models_core.formats.convert  # noqa: F401  before the hook: NumPy loads libraries
    forbid(writing=what == "convert")
    report = work.run(what, arguments)
    json.dump({**report, "network": "none" if isolated else "shared"}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
