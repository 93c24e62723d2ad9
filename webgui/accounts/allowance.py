"""How many claims one client may make, so that nobody drains the buffer alone.

A window opens with a client's first claim and lasts a minute. Counted by address, since a
cookie is easily thrown away; an IPv6 one by its /64, of which a household has all addresses.

All web processes count on one server, each claim in one way there, which claims of the same moment
share. While it does not answer, each process counts for itself, and only now and then does a claim
wait to find out whether it answers again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from webgui.together import Together

from .visitor import address_of, network_of

WINDOW = 60  # seconds
REST = 10  # seconds without asking a server that did not answer
PATIENCE = 1  # seconds for its answer
MOST = 64  # claims on one way there
PREFIX = "stylediffuser"
# A key is a window: it goes when that ends.
COUNT = """
local found = {}
for _, key in ipairs(KEYS) do
    local used = redis.call('INCR', key)
    if used == 1 then redis.call('EXPIRE', key, ARGV[1]) end
    table.insert(found, used)
    table.insert(found, redis.call('PTTL', key))
end
return found
"""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Allowance:
    limit: int
    remaining: int
    reset: int  # seconds until the window ends
    granted: bool

    def headers(self) -> dict[str, str]:
        names = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
            "RateLimit-Policy": f"{self.limit};w={WINDOW}",
        }
        return names if self.granted else names | {"Retry-After": str(self.reset)}


def spend_claim(request: HttpRequest) -> Allowance:
    """Count one claim of this client; the answer says whether it is granted."""
    limit = settings.CLAIMS_PER_MINUTE
    used, reset = _shared.count(f"claims:{network_of(request) or address_of(request)}")
    return Allowance(limit, max(0, limit - used), reset, granted=used <= limit)


class _Shared:
    """The server all processes share, and this one's own memory to fall back on."""

    def __init__(self) -> None:
        self._again = 0.0
        self._together: Together[str, tuple[int, int]] = Together(self._ask, MOST)
        self._count: Script | None = None

    def count(self, name: str) -> tuple[int, int]:
        if settings.CACHE_URL and time.monotonic() >= self._again:
            try:
                return self._together.ask(name)
            except RedisError as error:
                self._again = time.monotonic() + REST
                log.warning("The throttle's cache fails, this process counts alone: %r", error)
        return _count_alone(name)

    def _ask(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """Claims in the present window including this one, and the seconds it still lasts."""
        if self._count is None:
            server = Redis.from_url(
                settings.CACHE_URL,
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                retry=Retry(NoBackoff(), 0),
            )
            self._count = server.register_script(COUNT)
        found = self._count(keys=[f"{PREFIX}:{name}" for name in names], args=[WINDOW])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [(used, max(1, math.ceil(left / 1000))) for used, left in pairs]


_shared = _Shared()


def _count_alone(name: str) -> tuple[int, int]:
    """The same in this process's memory."""
    cache, now = caches["own"], time.time()
    opened = cache.get_or_set(name, now, timeout=WINDOW) or now
    counter = f"{name}:{opened:.6f}"
    cache.add(counter, 0, timeout=2 * WINDOW)
    return cache.incr(counter), max(1, math.ceil(opened + WINDOW - now))
