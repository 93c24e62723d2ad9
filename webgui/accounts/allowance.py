"""How many claims one client may make, so that nobody drains the buffer alone.

A window opens with a client's first claim and lasts a minute. Counted by address, since a
cookie is easily thrown away; an IPv6 one by its /64, of which a household has all addresses.

All web processes count in one cache. While that does not answer, each counts for itself, and
only now and then does a claim wait to find out whether it answers again.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import BaseCache, caches
from django.http import HttpRequest

from .visitor import address_of, network_of

WINDOW = 60  # seconds
REST = 10  # seconds without asking a cache that did not answer
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
    """The cache all processes share, and this one's own to fall back on."""

    def __init__(self) -> None:
        self._again = 0.0

    def count(self, name: str) -> tuple[int, int]:
        if time.monotonic() >= self._again:
            try:
                return _count(caches["default"], name)
            except Exception as error:  # any cache, any of its errors
                self._again = time.monotonic() + REST
                log.warning("The throttle's cache fails, this process counts alone: %r", error)
        return _count(caches["own"], name)


_shared = _Shared()


def _count(cache: BaseCache, name: str) -> tuple[int, int]:
    """Claims in the present window including this one, and the seconds it still lasts."""
    now = time.time()
    opened = cache.get_or_set(name, now, timeout=WINDOW) or now
    counter = f"{name}:{opened:.6f}"
    try:
        used = cache.incr(counter)
    except ValueError:  # a window's first; for all others one way to the cache is saved
        cache.add(counter, 0, timeout=2 * WINDOW)
        used = cache.incr(counter)
    return used, max(1, math.ceil(opened + WINDOW - now))
