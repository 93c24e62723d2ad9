"""The house as faults need it: on any ground, with wires that can fail and disks that can fill."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil

from generator_worker.config import Config
from tests.faults.clerk import Clerk
from tests.faults.ground import Ground, database
from tests.faults.ledger import Ledger
from tests.faults.sabotage import FOLDER, Sabotage
from tests.integration.house import House
from tests.wire import Wire
from webgui.demo import services
from webgui.demo.ground import free_port
from webgui.demo.process import Process, Service

PREFIX = "STYLEDIFFUSER_"
SILENCE_SECONDS = 31.0  # WORKER_SILENCE_SECONDS, and a little
DISK_MIB = 192  # room for a PostgreSQL; memory is taken only as files need it
# Everything else is as it comes. The first because visitors all come from one address here, the
# last because the tiny release draws so small.
SETTINGS = {"CLAIMS_PER_MINUTE": "100000", "TICKETS_PER_CLIENT": "1000", "AVATAR_SIZE": "128"}
STAFF = ("broker", "sftp", "server", "ingest", "web", "generator")
WORKERS = {"generator": "a", "generator-b": "b"}


class Rig(House):
    def __init__(self, home: Path, bundle: Path, ground: Ground) -> None:
        home.mkdir(parents=True)
        super().__init__(home)
        self.bundle, self.ground = bundle, ground
        self.offset = home / "clock-offset"  # of workers started with a false clock
        self.sabotage = Sabotage(home / "sabotage")
        self._false_clock: set[str] = set()
        self._sshd_port = free_port()
        sftp_port = (
            self.plan.sftp.getsockname()[1] if ground.sftp == "asyncssh" else self._sshd_port
        )
        self.sftp_wire = Wire(sftp_port)
        self.worker_wire, self.server_wire = (
            Wire(self.plan.broker_port),
            Wire(self.plan.broker_port),
        )
        self._stack = ExitStack()
        for name in ("sftp", "database"):
            self._stack.enter_context(small_disk(home / name))
        self.database_disk = home / "database"
        self.database_url = self._stack.enter_context(database(ground, self.database_disk))
        self.clerk = Clerk(self._server_env(self.plan.server_env), self.plan.log("clerk"))
        self.ledger = Ledger(home)

    def open(self) -> None:
        """Everything up, and the worker heard of."""
        self.start("broker", "sftp", "generator")
        self.clerk("migrate")
        self.start("server", "ingest", "web")
        self.ledger.start()
        self.wait("a heartbeat", lambda: self.clerk("workers"), 120)

    def start(self, *names: str) -> None:
        for name in names:
            if old := self.processes.get(name):
                old.sweep()
            self.processes[name] = Process(self._service(name))
            self.processes[name].start()

    def heal(self) -> None:
        """Whatever a fault left behind is put right: all up, true clocks, whole wires."""
        self.sabotage.disarm()
        for wire in (self.sftp_wire, self.worker_wire, self.server_wire):
            wire.pause = 0.0
            wire.carry_again()
        for name in self._false_clock & set(self.processes):
            self.stop(name)
        self._false_clock.clear()
        for name in STAFF:
            if not self.lives(name):
                self.start(name)

    def dismiss_extras(self) -> None:
        """Second workers and clocks go. They should have nothing left to do: what lies in the
        spool of a worker that is away stays there until it is back."""
        extras = [name for name in self.processes if name not in STAFF]
        for name in extras:
            self.stop(name)
            del self.processes[name]
        gone = {WORKERS[name] for name in extras if name in WORKERS}
        self.wait("the server missing them", lambda: not gone & self._counted_on(), 60)

    def _counted_on(self) -> set[str]:
        """Workers that the server may still send orders to."""
        return {name for name, age in self.clerk("workers").items() if age <= SILENCE_SECONDS}

    def end(self) -> None:
        self.ledger.stop()
        self.clerk.end()
        super().end()
        for wire in (self.sftp_wire, self.worker_wire, self.server_wire):
            wire.close()
        self._stack.close()

    def lives(self, name: str) -> bool:
        process = self.processes.get(name)
        return process is not None and process._popen is not None and process._popen.poll() is None

    def family(self, name: str) -> list[int]:
        """The process and all below it, itself first."""
        main = psutil.Process(self.pid(name))
        return [main.pid, *(child.pid for child in main.children(recursive=True))]

    def signal_all(self, name: str, what: signal.Signals) -> None:
        for pid in self.family(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)

    def stop(self, name: str, patience: float = 20) -> bool:
        self.signal_all(name, signal.SIGCONT) if self.lives(name) else None
        return super().stop(name, patience)

    def with_false_clock(self, name: str, offset: int) -> None:
        """Start this worker anew, its clock ahead by so many seconds; see `turn_clock`."""
        if self.lives(name):
            self.stop(name)
        self._false_clock.add(name)
        self.turn_clock(offset)
        self.start(name)

    def worker_config(self) -> Config:
        """What the worker itself knows: its key opens the SFTP server to us too."""
        return Config.from_env(self._service("generator").env)

    def turn_clock(self, offset: int) -> None:
        draft = self.offset.with_suffix(".draft")
        draft.write_text(str(offset))
        draft.replace(self.offset)

    def _false_clock_library(self) -> Path:
        library = self.home / "false_clock.so"
        if not library.exists():
            source = Path(__file__).with_name("false_clock.c")
            command = ["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"]
            subprocess.run(command, check=True)
        return library

    def _service(self, name: str) -> Service:
        if name == "broker":
            return self.ground.broker_service(self.plan)
        if name == "sftp":
            return self.ground.sftp_service(self.plan, self._sshd_port)
        if name in WORKERS:
            return self._generator(name)
        make: dict[str, Callable[[services.Plan], Service]] = {
            "server": services.server_worker,
            "server-2": services.server_worker,
            "ingest": services.ingest_worker,
            "web": services.web,
        }
        service = make[name](self.plan)
        argv = [_mortal(part) for part in service.argv]
        if name == "server-2":  # on another machine it would have its own file
            argv[argv.index("--schedule") + 1] += "-2"
        return replace(
            service, argv=argv, env=self._server_env(service.env), log=self.plan.log(name)
        )

    def _server_env(self, env: object) -> dict[str, str]:
        assert isinstance(env, dict)
        own = {
            "DATABASE_URL": self.database_url,
            "BROKER_URL": self._through(self.server_wire),
            **SETTINGS,
        }
        return {
            **env, **{PREFIX + key: value for key, value in own.items()},
            FOLDER: str(self.sabotage.folder), "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def _generator(self, name: str) -> Service:
        service = services.generator(self.plan)
        own = {
            "WORKER_NAME": WORKERS[name],
            "WORKER_HOME": str(self.home / ("worker" if name == "generator" else name)),
            "BROKER_URL": self._through(self.worker_wire),
            "SFTP_PORT": str(self.sftp_wire.port),
            "RELEASES": str(self.bundle.parent),
            "DEVICE": "cpu",
        }
        if self.ground.sftp == "OpenSSH":
            own["SFTP_USER"] = psutil.Process().username()
        env = {**service.env, **{PREFIX + key: value for key, value in own.items()}}
        env["OMP_NUM_THREADS"] = "1"
        if name in self._false_clock:
            library = self._false_clock_library()
            env |= {"LD_PRELOAD": str(library), "FAULTS_CLOCK": str(self.offset)}
        return replace(service, env=env, log=self.plan.log(name))

    def _through(self, wire: Wire) -> str:
        return self.plan.broker_url.replace(f":{self.plan.broker_port}/", f":{wire.port}/")


def _mortal(part: str) -> str:
    """The product's application, or the one of it that can be told to die: see `sabotage`."""
    return {
        "webgui.config.wsgi:application": "tests.faults.sabotaged_web:application",
        "webgui.config.celery": "tests.faults.sabotaged_ingest",
    }.get(part, part)


def can_mount() -> bool:
    return os.geteuid() == 0


@contextlib.contextmanager
def small_disk(folder: Path):
    """A disk of its own at `folder`, small enough to be filled, where we may mount one."""
    folder.mkdir(parents=True)
    if not can_mount():
        yield
        return
    size = f"size={DISK_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "faults", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def full(folder: Path):
    """Not a byte is left on the disk at `folder`."""
    ballast = folder / "ballast"
    try:
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(4096))
        yield
    finally:
        ballast.unlink()
