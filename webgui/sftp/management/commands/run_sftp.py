from __future__ import annotations

import asyncio
import logging
import signal
import socket
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Run the embedded SFTP server, through which workers deliver. For one machine."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=2222, help="0 takes a free one")
        parser.add_argument("--fd", type=int, help="serve this inherited listening socket instead")

    def handle(self, *args: Any, host: str, port: int, fd: int | None, **options: Any) -> None:
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        asyncio.run(self._serve(_socket(host, port, fd)))

    async def _serve(self, sock: socket.socket) -> None:
        from webgui.sftp.keys import ensure_keys
        from webgui.sftp.server import USER, listen

        stop = asyncio.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(signum, stop.set)
        keys = ensure_keys(settings.HOME / "keys")
        acceptor = await listen(sock, settings.SFTP_ROOT, keys, settings.SFTP_ACCOUNTS)
        where = "{}:{}".format(*sock.getsockname()[:2])
        self.stdout.write(f"SFTP on {where}, user {USER}, key {keys.worker_key}")
        self.stdout.write(f"Host key: {keys.host_key_line}")
        await stop.wait()
        acceptor.close()


def _socket(host: str, port: int, fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port."
        ) from error
