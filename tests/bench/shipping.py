"""Batches brought over SFTP by our courier's client, against OpenSSH's `sftp` in one batch."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

from generator_worker.config import Config
from generator_worker.delivery import deliver
from tests.bench.processes import run as run_to_end
from tests.bench.rows import Bar, Row, Size, by_turns
from tests.deploy.processes import clean_env, free_port, listens, running

SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey {keys}/host
PidFile {keys}/pid
AuthorizedKeysFile {keys}/worker.pub
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp -d {inbox}
LogLevel ERROR
"""
IMAGE_BYTES = 200_000
A_BATCH = 250
"""Files of each batch our client brings; the other brings all in one."""


@dataclass(frozen=True)
class Door:
    """An sshd of Debian's on loopback."""

    port: int
    keys: Path
    root: Path

    def config(self) -> Config:
        prefix = "STYLEDIFFUSER_"
        settings = {
            "WORKER_NAME": "bench",
            "SFTP_PORT": str(self.port),
            "SFTP_USER": "root",
            "SFTP_KEY": str(self.keys / "worker"),
            "SFTP_HOST_KEY": (self.keys / "host.pub").read_text(),
        }
        return Config.from_env({prefix + name: value for name, value in settings.items()})


def run(folder: Path, size: Size) -> list[Row]:
    many, repeats = size(1000, 8), size(5, 2)
    with door(folder) as there:
        files = _images(folder / "one", many)
        batches = _split(folder, files, size(A_BATCH, 4))
        total = sum(path.stat().st_size for path in files) / 1e6
        ours, reference = by_turns(
            repeats, lambda: _ship(there, batches), lambda: _sftp(there, folder / "one")
        )
    return [
        Row(
            f"shipping {many:,} images of {total / many * 1000:.0f} KB over SFTP, in batches; "
            "against OpenSSH's sftp with the same files in one batch",
            total / median(ours),
            total / median(reference),
            "MB/s",
            Bar("≥", 0.8),
        )
    ]


@contextlib.contextmanager
def door(folder: Path) -> Iterator[Door]:
    keys, root, port = folder / "keys", folder / "root", free_port()
    keys.mkdir()
    for place in ("inbox/tmp", "inbox/new", "plain"):
        (root / place).mkdir(parents=True)
    for name in ("host", "worker"):
        run_to_end(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / name])
    configuration = folder / "sshd_config"
    configuration.write_text(SSHD.format(port=port, keys=keys, inbox=root))
    Path("/run/sshd").mkdir(exist_ok=True)
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", configuration]
    with running(command, clean_env(), folder / "sshd.log", lambda: listens(port)):
        yield Door(port, keys, root)


def _images(folder: Path, many: int) -> list[Path]:
    """As large as the avatars of real releases; on the way nobody looks inside."""
    folder.mkdir()
    files = [folder / f"{number}.png" for number in range(many)]
    for file in files:
        file.write_bytes(os.urandom(IMAGE_BYTES))
    return files


def _split(folder: Path, files: list[Path], each: int) -> list[Path]:
    """The same files as batches: folders with a manifest."""
    batches = []
    for first in range(0, len(files), each):
        batch = folder / "batches" / str(first)
        batch.mkdir(parents=True)
        for path in files[first : first + each]:
            (batch / path.name).hardlink_to(path)
        (batch / "manifest.json").write_text("{}")
        batches.append(batch)
    return batches


def _ship(there: Door, batches: list[Path]) -> float:
    config = there.config()
    names: list[UUID] = [uuid4() for _ in batches]
    began = time.perf_counter()
    for name, batch in zip(names, batches, strict=True):
        assert deliver(config, name, batch)
    took = time.perf_counter() - began
    for name in names:
        shutil.rmtree(there.root / "inbox" / "new" / str(name))
    return took


def _sftp(there: Door, files: Path) -> float:
    known = there.keys / "known_hosts"
    host = " ".join((there.keys / "host.pub").read_text().split()[:2])
    known.write_text(f"[127.0.0.1]:{there.port} {host}\n")
    orders = there.keys / "orders"
    orders.write_text(f"put {files}/*.png plain/\n")
    options = [f"UserKnownHostsFile={known}", "IdentitiesOnly=yes"]
    command = ["sftp", "-q", "-b", orders, "-i", there.keys / "worker", "-P", str(there.port)]
    for option in options:
        command += ["-o", option]
    began = time.perf_counter()
    run_to_end([*command, "root@127.0.0.1"], clean_env())
    took = time.perf_counter() - began
    arrived = list((there.root / "plain").iterdir())
    assert len(arrived) == len(list(files.iterdir()))
    for path in arrived:
        path.unlink()
    return took
