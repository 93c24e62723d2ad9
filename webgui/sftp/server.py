"""The embedded SFTP server: key log-in for one user, SFTP and nothing else."""

from __future__ import annotations

import logging
import shutil
import socket
import time
from functools import partial
from pathlib import Path

import asyncssh

from .dropbox import Dropbox, lay_out
from .keys import Keys

log = logging.getLogger(__name__)

USER = "worker"
ABANDONED_SECONDS = 24 * 3600.0


class Gate(asyncssh.SSHServer):
    """Only `USER`, only by key. Forwarding is off by default in asyncssh, and stays off."""

    def __init__(self, authorized: Path) -> None:
        self._authorized = authorized
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if username == USER and self._connection is not None:
            # Read at each log-in: keys are added and withdrawn while the server runs.
            self._connection.set_authorized_keys(str(self._authorized))
        return True


async def listen(sock: socket.socket, root: Path, keys: Keys) -> asyncssh.SSHAcceptor:
    """Serve `root` on a bound socket until the acceptor is closed."""
    lay_out(root)
    _clear_abandoned(root / "inbox" / "tmp")
    return await asyncssh.listen(
        sock=sock,
        server_factory=partial(Gate, keys.authorized),
        server_host_keys=[str(keys.host_key)],
        sftp_factory=partial(Dropbox, root=root),
        public_key_auth=True,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        allow_scp=False,
        allow_pty=False,
        agent_forwarding=False,
        x11_forwarding=False,
        login_timeout=20,
        keepalive_interval=15,
        keepalive_count_max=3,
    )


def _clear_abandoned(tmp: Path) -> None:
    """Remove uploads nobody went on with: their worker has died, or sent the batch anew."""
    for folder in tmp.iterdir():
        if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
            log.info("Removing the abandoned upload %s", folder.name)
            shutil.rmtree(folder, ignore_errors=True)
