"""How far the buffer is, read from the database as a visitor would find it."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass

from webgui.buffer import levels
from webgui.buffer.models import Batch, Pool


@dataclass(frozen=True)
class Filling:
    available: int
    drawn: float
    """How far the first batch is, 0 to 1."""
    note: str
    trouble: str

    @property
    def fraction(self) -> float:
        return 1.0 if self.available else self.drawn

    @property
    def words(self) -> str:
        if self.available:
            return f"{self.available} avatars ready"
        if self.trouble:
            return f"trouble: {self.trouble[:160]}"
        return self.note or "waiting for the generator to load its models"


def look(slug: str) -> Filling:
    pool = Pool.objects.get(slug=slug)
    making = Batch.objects.filter(pool=pool, state=Batch.State.ORDERED).order_by("-fraction")
    batch = making.first()
    return Filling(
        available=levels.available(pool),
        drawn=batch.fraction if batch else 0.0,
        note=batch.note if batch else "",
        trouble=pool.trouble,
    )


def answers(port: int) -> bool:
    """The web server is up."""
    try:
        url = f"http://127.0.0.1:{port}/healthz"
        with urllib.request.urlopen(url, timeout=1) as reply:  # nosec B310
            return reply.status == 200
    except (OSError, urllib.error.URLError):
        return False
