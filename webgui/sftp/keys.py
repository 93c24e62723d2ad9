"""The embedded server's own key, and the one it gives its first worker; made on first start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import asyncssh

# In the folder that workers see: what they pin.
HOST_KEY_NAME = "host_key.pub"


@dataclass(frozen=True)
class Keys:
    host_key: Path
    worker_key: Path
    authorized: Path
    """authorized_keys format: whoever holds one of these may deliver."""

    @property
    def host_key_line(self) -> str:
        """The public key as workers pin it: `ssh-ed25519 AAAA…`."""
        public = asyncssh.read_private_key(str(self.host_key)).export_public_key()
        return " ".join(public.decode().split()[:2])


def ensure_keys(folder: Path) -> Keys:
    """The keys in `folder`; what is missing is made, what is there is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    keys = Keys(folder / "sftp_host_key", folder / "worker_key", folder / "authorized_keys")
    _ensure_private(keys.host_key, "stylediffuser server")
    _ensure_private(keys.worker_key, "stylediffuser worker")
    if not keys.authorized.exists():
        worker = asyncssh.read_private_key(str(keys.worker_key))
        write_atomically(keys.authorized, b"restrict " + worker.export_public_key())
    return keys


def _ensure_private(path: Path, comment: str) -> None:
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment=comment)
        write_atomically(path, key.export_private_key())


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        os.fchmod(file.fileno(), mode)
    draft.replace(path)
