"""Django's PostgreSQL, with a look at a kept connection before each use that costs no way there.

Django asks `SELECT 1` at the beginning of every request. That is as long as a claim takes, and it
nearly always says what the operating system knows already: a server that ended a connection has
said so, and its last words wait to be read. Only silence says nothing (a host without power, a
cable): after a few seconds of it the server is asked all the same.
"""

from __future__ import annotations

import select
import time

from django.db.backends.postgresql.base import DatabaseWrapper as PostgreSQL

SILENCE = 5  # seconds


class DatabaseWrapper(PostgreSQL):
    _heard = 0.0

    def is_usable(self) -> bool:
        now = time.monotonic()
        usable = self._is_open() and (now - self._heard < SILENCE or super().is_usable())
        self._heard = now
        return usable

    def _is_open(self) -> bool:
        if self.connection is None or self.connection.closed:
            return False
        # poll, not select, which takes no descriptor above 1023.
        asked = select.poll()
        asked.register(self.connection.fileno(), select.POLLIN)
        return not asked.poll(0)
