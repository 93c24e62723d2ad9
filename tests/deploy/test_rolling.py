"""gunicorn with deploy/web's settings gives way to a new one, as docs/upgrading.md has it."""

from __future__ import annotations

import http.client
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy import processes


@contextmanager
def visitors(port: int) -> Iterator[Counter[object]]:
    """One who asks again and again, each time anew: what was answered, and what went wrong."""
    seen: Counter[object] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            try:
                link.request("GET", "/healthz")
                seen[link.getresponse().status] += 1
            except (OSError, http.client.HTTPException) as error:
                seen[repr(error)] += 1
            finally:
                link.close()
            over.wait(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def children(pid: int) -> set[int]:
    return {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def test_no_visitor_notices_that_a_new_gunicorn_takes_over(tmp_path):
    port = processes.free_port()
    env = processes.server_env(tmp_path / "home") | {
        "WEB_BIND": f"127.0.0.1:{port}",
        "WEB_WORKERS": "1",
    }
    conf = processes.DEPLOY / "web" / "gunicorn.conf.py"
    # Its script, as in the images: `python -m gunicorn` would not start itself anew.
    command = [Path(sys.executable).with_name("gunicorn"), "-c", conf, "webgui.config.wsgi"]
    log = tmp_path / "log"
    up = lambda: processes.listens(port)  # noqa: E731
    with processes.running(command, env, log, up) as old, visitors(port) as seen:
        processes.wait("answers", lambda: seen[200] > 5, alive=old, log=log)
        before = children(old.pid)
        os.kill(old.pid, signal.SIGUSR2)
        processes.wait("a new main process", lambda: children(old.pid) - before, log=log)
        (new,) = children(old.pid) - before
        processes.wait("its worker", lambda: children(new), log=log)
        old.terminate()
        old.wait(40)
        had = seen[200]
        processes.wait("answers of the new one", lambda: seen[200] > had + 5, log=log)
    assert set(seen) == {200}, seen
