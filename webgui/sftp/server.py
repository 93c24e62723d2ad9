"""The embedded SFTP server: key log-in for one user, SFTP and nothing else."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncssh

from generator_worker.contract import worker_account

from .dropbox import Dropbox, lay_out
from .keys import HOST_KEY_NAME, Keys, write_atomically

log = logging.getLogger(__name__)

USER = "worker"
"""The demo's own worker, by the keys that were made with the server's."""
ABANDONED_SECONDS = 24 * 3600.0
LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Doorkeeper:
    """Who may come in, read at each log-in: keys are added and withdrawn while the server runs."""

    keys: Keys
    accounts: Path

    def key_file(self, username: str) -> Path | None:
        """authorized_keys of this user; None for one that nobody has enrolled."""
        if username == USER:
            return self.keys.authorized
        path = self.accounts / username
        known = username.startswith(worker_account("")) and "/" not in username
        return path if known and path.is_file() else None


class Gate(asyncssh.SSHServer):
    """Only by key, and forwarding is off by default in asyncssh, and stays off."""

    def __init__(self, keeper: Doorkeeper) -> None:
        self._keeper = keeper
        self._connection: asyncssh.SSHServerConnection | None = None
        self.username = ""
        self._admitted_by = ""
        self._next_look: asyncio.TimerHandle | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_look is not None:
            self._next_look.cancel()

    def begin_auth(self, username: str) -> bool:
        file = self._keeper.key_file(username)
        if file is not None and self._connection is not None:
            self.username, self._admitted_by = username, file.read_text()
            self._connection.set_authorized_keys(str(file))
        return True

    def _look(self) -> None:
        """Show out who came in by a key that was withdrawn or replaced since."""
        if self._connection is not None and self._is_withdrawn():
            log.info("%s is turned away", self.username)
            self._connection.abort()
            return
        self._next_look = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _is_withdrawn(self) -> bool:
        if not self.username:
            return False
        file = self._keeper.key_file(self.username)
        try:
            return file is None or file.read_text() != self._admitted_by
        except FileNotFoundError:
            return True


async def listen(
    sock: socket.socket, root: Path, keys: Keys, accounts: Path | None = None
) -> asyncssh.SSHAcceptor:
    """Serve `root` on a bound socket until the acceptor is closed."""
    lay_out(root)
    write_atomically(root / HOST_KEY_NAME, f"{keys.host_key_line}\n".encode(), mode=0o644)
    _clear_abandoned(root / "inbox" / "tmp")
    keeper = Doorkeeper(keys, accounts or keys.authorized.parent / "accounts")
    return await asyncssh.listen(
        sock=sock,
        server_factory=partial(Gate, keeper),
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
