"""The services of docker-compose.yml without an engine: real processes, confined as it says.

Each has a root of its own that cannot be written to, the volumes, secrets and tmpfs that the file
gives it, its user, no capability beyond those named there, and nothing of this machine's network:
all share one of their own, in which each other's names lead to loopback. What an engine does
besides (building images, limits, restarts, networks apart) is not played.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.deploy import compose, processes
from tests.deploy.processes import DEPLOY, ROOT

USERS = {"stylediffuser": 10_001, "redis": 10_003, "postgres": 10_004}
FILES = ("hosts", "passwd", "group")
SYSTEM = ("usr", "etc")
STAND_IN = """#!/opt/venv/bin/python
from webgui.__main__ import main
main()
"""


class Composition:
    """A folder beside which `docker compose` would be called, and what runs of it."""

    def __init__(self, folder: Path, network: int) -> None:
        self.folder, self.network = folder, network
        self.running: dict[str, int] = {}
        (folder / "deploy").mkdir()
        for source in [DEPLOY / "prepare.sh", *DEPLOY.glob("*.example")]:
            shutil.copy2(source, folder / "deploy")
        (folder / "bin").mkdir()
        (folder / "bin" / "stylediffuser").write_text(STAND_IN)
        (folder / "bin" / "stylediffuser").chmod(0o755)
        self.services: dict[str, dict[str, Any]] = compose.load()["services"]
        (folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(self.services)}\n")
        _add(folder, "passwd", {name: f"{uid}:{uid}::/:/bin/false" for name, uid in USERS.items()})
        _add(folder, "group", {name: f"{uid}:" for name, uid in USERS.items()})

    def prepare(self, role: str) -> str:
        command = [self.folder / "deploy" / "prepare.sh", role]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    @contextlib.contextmanager
    def up(self, name: str, seconds: float = 60) -> Iterator[None]:
        """The service, handed over once its health check says so."""
        script, log = self._script(name, self._command(name)), self.log(name)
        # As runc does: the service may open its standard output anew.
        log.touch()
        os.chown(log, int(self.services[name]["user"].partition(":")[0]), -1)
        with processes.running(
            [*self._place, script], processes.clean_env(), log, lambda: True,
        ) as process:  # fmt: skip
            self.running[name] = process.pid
            try:
                processes.wait(
                    f"{name} to be healthy", lambda: self.healthy(name), seconds,
                    alive=process, log=log,
                )  # fmt: skip
                yield
            finally:
                del self.running[name]

    def run(self, name: str, *arguments: str) -> str:
        """A service that ends: `docker compose run --rm -T`; what it said."""
        script = self._script(name, self._command(name, *arguments))
        done = subprocess.run(
            [*self._place, script], env=processes.clean_env(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def _place(self) -> list[str]:
        """Our network, and a mount namespace of its own, for a script."""
        return ["nsenter", f"--net=/proc/{self.network}/ns/net", "unshare", "--mount", "sh", "-c"]

    def healthy(self, name: str) -> bool:
        kind, *test = self.services[name]["healthcheck"]["test"]
        return self.execute(name, *(["sh", "-c", test[0]] if kind == "CMD-SHELL" else test))[0] == 0

    def execute(self, name: str, *command: str) -> tuple[int, str]:
        """`docker compose exec -T`: in the running service's place, as its user. What it said, and
        what it complained of where it failed."""
        place = f"--target={self.running[name]}"
        done = subprocess.run(
            ["nsenter", place, "--mount", "--net", "--root", *self._as(name, command)],
            env=processes.clean_env(), capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout + (done.stderr if done.returncode else "")

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _stage(self, name: str) -> compose.Stage:
        return compose.stages()[self.services[name]["build"]["target"]]

    def _command(self, name: str, *arguments: str) -> list[str]:
        service = self.services[name]
        command = arguments or service.get("command") or self._stage(name).command
        return [*service.get("entrypoint", ()), *command]

    def environment(self, name: str) -> dict[str, str]:
        service, env = self.services[name], dict(self._stage(name).env)
        for entry in service.get("env_file", ()):
            if (file := self.folder / entry["path"]).exists():
                env |= compose.env_file(file)
        # The worktree's own packages, whichever the virtual environment was made for.
        here = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        env["PATH"] = env.get("PATH", "/usr/bin:/bin") + ":/opt/bin:/usr/sbin:/usr/bin"
        return env | service.get("environment", {}) | here

    def _as(self, name: str, command: Any) -> list[str]:
        service = self.services[name]
        user, _, group = service["user"].partition(":")
        kept = "".join(f",+{each.lower()}" for each in service.get("cap_add", ()))
        variables = [f"{key}={value}" for key, value in self.environment(name).items()]
        return [
            "/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups",
            "--no-new-privs", f"--bounding-set=-all{kept}", "--inh-caps=-all", "--",
            "/usr/bin/env", "--ignore-environment", f"--chdir={self._stage(name).folder}",
            *variables, *command,
        ]  # fmt: skip

    def _script(self, name: str, command: list[str]) -> str:
        """Lays out the root in a mount namespace of its own, and becomes the service."""
        service, root = self.services[name], self.folder / "roots" / name
        root.mkdir(parents=True, exist_ok=True)
        lines = [
            "set -e",
            f"mount -t tmpfs -o mode=0755 none {root}",
            f"cd {root}",
            f"mkdir -p proc dev tmp run opt/bin .{self._stage(name).folder}",
            "for name in bin sbin lib lib64; do ln -s usr/$name $name; done",
            "mount --rbind /proc proc; mount --rbind /dev dev",
        ]
        for source, target in self._fixed(name):
            lines += _bind(source, target, read_only=True)
        for entry in service["tmpfs"]:
            place, _, options = entry.partition(":")
            options = options or "mode=1777"
            lines += [f"mkdir -p .{place}", f"mount -t tmpfs -o {options} none .{place}"]
        for source, target, read_only in self._volumes(name):
            lines += _bind(source, target, read_only)
        for secret in service.get("secrets", ()):
            file = self.folder / "deploy" / "secrets" / secret
            lines += _bind(file, Path("/run/secrets", secret), read_only=True)
        lines += [f"mount -o remount,ro {root}", "cd /"]
        confined = shlex.join(["chroot", str(root), *self._as(name, command)])
        return "\n".join([*lines, f"exec {confined}"])

    def _fixed(self, name: str) -> list[tuple[Path, Path]]:
        """What is in the image."""
        venv, python = Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()
        places = [(Path("/", each), Path("/", each)) for each in SYSTEM]
        places += [(path, path) for path in (python, venv, ROOT)]
        places += [(venv, Path("/opt/venv")), (DEPLOY, Path("/opt/deploy"))]
        places += [(self.folder / "bin", Path("/opt/bin"))]
        places += [(self.folder / each, Path("/etc", each)) for each in FILES]
        if name == "sftp":
            places += [(DEPLOY / "sftp" / "nsswitch.conf", Path("/etc/nsswitch.conf"))]
        if (self.folder / "static").exists():
            places += [(self.folder / "static", Path("/opt/static"))]
        return places

    def _volumes(self, name: str) -> list[tuple[Path, Path, bool]]:
        found = []
        for volume in self.services[name].get("volumes", ()):
            if isinstance(volume, str):
                source, target, *options = volume.split(":")
                read_only, copied = options == ["ro"], True
            else:
                source, target = volume["source"], volume["target"]
                read_only, copied = volume["read_only"], not volume["volume"]["nocopy"]
            place = self.folder / "volumes" / source
            if not place.exists():
                place.mkdir(parents=True)
                if copied:
                    self._take_over(name, target, place)
            found.append((place, Path(target), read_only))
        return sorted(found, key=lambda each: each[1])

    def _take_over(self, name: str, target: str, place: Path) -> None:
        """A volume's first owner and mode are those of the folder it covers in the image."""
        for step in self._stage(name).said("RUN"):
            for made in re.findall(r"install -d ([^&]*)", step):
                words = made.split()
                if target in words:
                    place.chmod(int(words[words.index("-m") + 1], 8))
                    if "-o" in words:
                        owner = USERS[words[words.index("-o") + 1]]
                        os.chown(place, owner, owner)


def _add(folder: Path, file: str, entries: Mapping[str, str]) -> None:
    """A copy of /etc's file with these users or groups, in place of any of the same names."""
    lines = Path("/etc", file).read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.partition(":")[0] not in entries]
    (folder / file).write_text("".join([*kept, *(f"{k}:*:{v}\n" for k, v in entries.items())]))


def _bind(source: Path, target: Path, read_only: bool) -> list[str]:
    place, origin = shlex.quote(f".{target}"), shlex.quote(str(source))
    made = f"mkdir -p {place}" if source.is_dir() else f"mkdir -p .{target.parent}; touch {place}"
    lines = [f"[ -e {place} ] || {{ {made}; }}", f"mount --bind {origin} {place}"]
    return [*lines, f"mount -o remount,bind,ro {place}"] if read_only else lines


@contextlib.contextmanager
def network() -> Iterator[int]:
    """A network of our own with loopback alone; the process that holds it."""
    processes.need("unshare", "nsenter", "setpriv", "chroot", "ip", root=True)
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"up\n"
        yield holder.pid
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()


@contextlib.contextmanager
def composition(settings: Mapping[str, str]) -> Iterator[Composition]:
    with processes.public_folder() as folder, network() as pid:
        made = Composition(folder, pid)
        made.prepare("server")
        with (folder / "server.env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())
        yield made
