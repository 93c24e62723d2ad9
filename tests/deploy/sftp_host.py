"""OpenSSH with deploy/sftp's configuration, in a mount namespace: this machine keeps its users."""

from __future__ import annotations

import ctypes
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from tests.deploy import processes

SERVER = 10_001  # the server's user, as in deploy's images
INSIDE = """
mount --bind {deploy}/sftp/nsswitch.conf /etc/nsswitch.conf
mount -t tmpfs none /var/lib/extrausers
exec {deploy}/sftp/start.sh -o ListenAddress=127.0.0.1
"""


@dataclass
class SftpHost:
    folder: Path
    port: int

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def accounts(self) -> Path:
        return self.folder / "accounts"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def enrol(self, name: str, uid: int) -> dict[str, str]:
        """What add_worker would do, without a broker; the worker's settings."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        private = self.folder / f"{name}.key"
        key.write_private_key(str(private))
        public = " ".join(key.export_public_key().decode().split()[:2])
        (self.accounts / f"worker-{name}").write_text(f"restrict {public} {uid}\n")
        user = f"worker-{name}"
        processes.wait("the account", lambda: (self.folder / "run" / "keys" / user).exists())
        return self.settings(name) | {"STYLEDIFFUSER_SFTP_KEY": str(private)}

    def settings(self, name: str) -> dict[str, str]:
        values = {
            "WORKER_NAME": name,
            "SFTP_HOST": "127.0.0.1",
            "SFTP_PORT": str(self.port),
            "SFTP_USER": f"worker-{name}",
            "SFTP_HOST_KEY": (self.root / "host_key.pub").read_text().strip(),
            "WORKER_HOME": str(self.folder / name),
        }
        return {f"STYLEDIFFUSER_{key}": value for key, value in values.items()}

    def as_server(self, command: str) -> subprocess.CompletedProcess[str]:
        """What the server's own user can do with what lies there: it is not root."""
        return subprocess.run(
            ["/bin/sh", "-c", command], user=SERVER, group=SERVER, extra_groups=[], cwd="/",
            capture_output=True, text=True, check=False,
        )  # fmt: skip


@contextmanager
def sftp_host(server: int = SERVER) -> Iterator[SftpHost]:
    """`server`: whom the server's processes run as."""
    processes.need("sshd", "unshare", "ssh-keygen", "pkill", root=True)
    try:
        ctypes.CDLL("libnss_extrausers.so.2")
    except OSError:
        processes.lacking("libnss-extrausers")
    # Not below /tmp, where others may write: sshd takes no such chroot.
    with tempfile.TemporaryDirectory(prefix="stylediffuser-test-", dir="/var/lib") as name:
        host = SftpHost(Path(name), processes.free_port())
        host.folder.chmod(0o755)
        host.accounts.mkdir()
        env = processes.clean_env() | {
            "ROOT": str(host.root),
            "ACCOUNTS": str(host.accounts),
            "KEYS": str(host.folder / "keys"),
            "RUN": str(host.folder / "run"),
            "PORT": str(host.port),
            "LOOK": "0.3",
            "SERVER_UID": str(server),
            "SERVER_GID": str(server),
        }
        script = "set -e" + INSIDE.format(deploy=shlex.quote(str(processes.DEPLOY)))
        command = ["unshare", "-m", "sh", "-c", script]
        log = host.folder / "log"
        with processes.running(command, env, log, lambda: processes.listens(host.port)):
            yield host
