"""A TCP connection's middle man, who can slow, cut or swallow all that runs through him."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Wire:
    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.carried = 0  # bytes from clients to the server
        self.open: list[_Pair] = []
        self.pause = 0.0  # seconds after each 16 KiB that go to the server
        self._swallows_new = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                pair = _Pair(client, server, self._swallows_new)
                self.open.append(pair)
                threading.Thread(target=self._carry, args=(pair,), daemon=True).start()
                threading.Thread(target=pair.carry_back, daemon=True).start()

    def _carry(self, pair: _Pair) -> None:
        with contextlib.suppress(OSError):
            while data := pair.client.recv(16384 if self.pause else 65536):
                if pair.swallows:
                    continue
                time.sleep(self.pause)
                pair.server.sendall(data)
                self.carried += len(data)
        if pair.swallows:
            pair.client.close()  # of which the server never hears
        else:
            pair.cut()

    def cut(self, silently: bool = False) -> None:
        """Both sides lose the connection; silently: the server is left waiting on a dead one."""
        pairs, self.open = self.open, []
        for pair in pairs:
            pair.silent = silently
            pair.cut()

    def swallow(self, new_ones_too: bool = False) -> None:
        """A link gone half-open: neither side is told, and nothing arrives any more."""
        self._swallows_new = new_ones_too
        for pair in self.open:
            pair.swallows = True

    def carry_again(self) -> None:
        """New connections work. Those that swallowed stay dead, as the parties long know them."""
        self._swallows_new = False

    def close(self) -> None:
        self.listener.close()
        self.cut()


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket, swallows: bool) -> None:
        self.client, self.server = client, server
        self.silent = False
        self.swallows = swallows

    def carry_back(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.server.recv(65536):
                if not self.swallows:
                    self.client.sendall(data)
        if self.swallows:
            self.server.close()
            return
        self.silent = False  # the server itself has ended it
        self.cut()

    def cut(self) -> None:
        for end in (self.client,) if self.silent else (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
