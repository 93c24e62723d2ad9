"""How many claims one client may make, so that nobody drains the buffer alone.

A window opens with a client's first claim and lasts a minute. Counted by address, since a
cookie is easily thrown away.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from .visitor import address_of

WINDOW = 60  # seconds
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
    try:
        used, reset = _count(f"claims:{address_of(request)}")
    except Exception:  # any cache, any of its errors
        # Without a cache nobody can be counted; serving is worth more than counting.
        log.exception("The throttle's cache does not answer; the claim is let through")
        used, reset = 1, WINDOW
    return Allowance(limit, max(0, limit - used), reset, granted=used <= limit)


def _count(name: str) -> tuple[int, int]:
    """Claims in the present window including this one, and the seconds it still lasts."""
    now = time.time()
    opened = cache.get_or_set(name, now, timeout=WINDOW) or now
    counter = f"{name}:{opened:.6f}"
    cache.add(counter, 0, timeout=2 * WINDOW)
    return cache.incr(counter), max(1, math.ceil(opened + WINDOW - now))
