from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from webgui.demo import process as process_module
from webgui.demo.console import Console
from webgui.demo.process import Process, Service
from webgui.demo.supervisor import Supervisor


def service(tmp_path, name="it", script="sleep 60", **options) -> Service:
    return Service(name, ["/bin/sh", "-c", script], os.environ, tmp_path / f"{name}.log", **options)


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def until(holds, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids(tmp_path, count):
    """The process ids that the scripts below have written."""
    until(lambda: len(list(tmp_path.glob("*.pid"))) == count)
    time.sleep(0.05)
    return [int(path.read_text()) for path in tmp_path.glob("*.pid")]


BROOD = "trap '' TERM; (trap '' TERM; sleep 60) & echo $! > {0}/c.pid; echo $$ > {0}/p.pid; wait"


def test_sweep_takes_children_that_heed_no_signal(tmp_path):
    process = Process(service(tmp_path, script=BROOD.format(tmp_path)))
    process.start()
    brood = pids(tmp_path, 2)
    process.end()
    assert not process.ended(time.monotonic() + 0.2)
    process.sweep()
    until(lambda: not any(map(alive, brood)))


def test_a_death_is_seen_once_with_its_code_and_leaves_no_orphans(tmp_path):
    script = f"sleep 60 & echo $! > {tmp_path}/c.pid; exit 3"
    process = Process(service(tmp_path, script=script))
    process.start()
    (orphan,) = pids(tmp_path, 1)
    codes = []
    until(lambda: codes.append(process.death()) or codes[-1] is not None)
    assert codes[-1] == 3
    assert process.death() is None
    until(lambda: not alive(orphan))


def test_pauses_grow_and_a_healthy_time_forgives(tmp_path, monkeypatch):
    process = Process(service(tmp_path, script="exit 1"))
    pauses = []
    for _ in range(7):
        process.start()
        pauses.append(process.pause())
        process.sweep()
    assert pauses == [1, 2, 5, 10, 30, 30, 30]
    monkeypatch.setattr(process_module, "HEALTHY_SECONDS", -1)
    assert process.pause() == 1


def test_a_large_log_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "LOG_LIMIT", 10)
    (tmp_path / "it.log").write_text("an old and long log")
    process = Process(service(tmp_path, script="echo fresh"))
    process.start()
    assert process.ended(time.monotonic() + 5)
    assert (tmp_path / "it.log").read_text() == "fresh\n"
    assert (tmp_path / "it.old.log").read_text() == "an old and long log"


def test_what_died_is_started_again_and_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "PAUSES", (0.0,))
    said: list[str] = []
    supervisor = Supervisor(said.append)
    supervisor.start(service(tmp_path, script=f"echo x >> {tmp_path}/starts; exit 7"))
    starts = tmp_path / "starts"
    until(lambda: supervisor.rest(0.02) and starts.exists() and len(starts.read_text()) >= 6)
    supervisor.end()
    assert "it stopped (exit code 7); starting it again" in said[0]
    assert str(tmp_path / "it.log") in said[0]


def test_the_broker_is_ended_after_those_who_use_it(tmp_path):
    script = (
        "trap 'echo {0} >> {1}/order; exit 0' TERM; echo $$ > {1}/{0}.pid;"
        "while :; do sleep 0.1; done"
    )
    supervisor = Supervisor(print)
    supervisor.start(service(tmp_path, "broker", script.format("broker", tmp_path), last=True))
    for name in ("web", "worker"):
        supervisor.start(service(tmp_path, name, script.format(name, tmp_path)))
    pids(tmp_path, 3)
    supervisor.end()
    assert (tmp_path / "order").read_text().split()[-1] == "broker"
    assert len((tmp_path / "order").read_text().split()) == 3


def test_rest_ends_at_once_on_a_signal(tmp_path):
    before = {
        number: signal.getsignal(number)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        supervisor = Supervisor(print)
        supervisor.heed_signals()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGHUP)).start()
        began = time.monotonic()
        assert supervisor.rest(30) is False
        assert time.monotonic() - began < 5
        assert supervisor.stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_killed_supervisor_takes_its_processes_along(tmp_path):
    code = (
        "import sys, time, os, pathlib\n"
        "from webgui.demo.process import Process, Service\n"
        "script = f'echo $$ > {sys.argv[1]}/p.pid; exec sleep 60'\n"
        "Process(Service('it', ['/bin/sh', '-c', script], os.environ,"
        " pathlib.Path(sys.argv[1], 'log'))).start()\n"
        "time.sleep(60)\n"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    try:
        (child,) = pids_slowly(tmp_path)
        assert alive(child)
    finally:
        supervisor.kill()
        supervisor.wait()
    until(lambda: not alive(child))


def pids_slowly(tmp_path):
    until(lambda: list(tmp_path.glob("*.pid")), 30)
    return pids(tmp_path, 1)


class Screen:
    def __init__(self, terminal: bool, broken: bool = False) -> None:
        self.text, self.terminal, self.broken = "", terminal, broken

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> None:
        if self.broken:
            raise BrokenPipeError
        self.text += text

    def flush(self) -> None:
        pass


def test_the_bar_is_redrawn_on_a_terminal_and_listed_elsewhere():
    for terminal, between in ((True, "\r"), (False, "\n")):
        screen = Screen(terminal)
        console = Console(screen)
        console.bar("buffer", 0.25, "drawing")
        console.bar("buffer", 0.25, "drawing")
        console.bar("buffer", 1.5, "8 avatars ready")
        console.say("Ready")
        assert screen.text.count("drawing") == 1
        assert "[########........................] drawing" in screen.text
        assert f"{'#' * 32}] 8 avatars ready" in screen.text
        assert between in screen.text.partition("drawing")[2].partition("ready")[0]
        assert screen.text.endswith("\nReady\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_that_is_gone_stops_nothing(terminal):
    console = Console(Screen(terminal, broken=True))
    console.bar("buffer", 0.5, "drawing")
    console.say("still here")
