"""How much of what is drawn is worth keeping: measured, and ordered by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import comb

from django.db.models import Sum

from .models import Batch, Pool

REMEMBERED = 30  # batches
DOUBT = 4  # images; so many kept ones are taken for granted before there is a measurement
LEAST = 0.02
CONFIDENCE = 0.95


def share_kept(release_id: int) -> float:
    """Of the images lately drawn with this release, the share that reached the buffer."""
    drawn, kept = _seen(release_id)
    return max(LEAST, min(1.0, (kept + DOUBT) / (drawn + DOUBT)))


def measured_share(release_id: int) -> float | None:
    """The same for people to read: as it was measured, or None."""
    drawn, kept = _seen(release_id)
    return kept / drawn if drawn else None


def _seen(release_id: int) -> tuple[int, int]:
    lately = Batch.objects.filter(release=release_id, drawn__gt=0).order_by("-settled_at")
    seen = lately[:REMEMBERED].aggregate(drawn=Sum("drawn"), kept=Sum("ingested_count"))
    return seen["drawn"] or 0, seen["kept"] or 0


def in_vain(pool: Pool, tags: Sequence[str], since: datetime) -> bool:
    """Whether the release cannot draw these tags: it does not know them (the line may be older
    than the pool's release), or batch after batch brought no such image."""
    if not pool.release.tags.keys() >= set(tags):
        return True
    settled = Batch.objects.filter(pool=pool, params={"tags": list(tags)}, ordered_at__gte=since)
    nothing = settled.filter(ingested_count=0, settled_at__isnull=False)
    return nothing.count() >= Batch.MAX_ATTEMPTS


def draws_for(wanted: int, share: float, most: int) -> int:
    """How many to draw so that `wanted` are kept, but for one time in twenty; never over `most`."""
    for draws in range(wanted, most):
        if _chance_of_fewer(wanted, draws, share) <= 1 - CONFIDENCE:
            return draws
    return most


def _chance_of_fewer(wanted: int, draws: int, share: float) -> float:
    """The binomial distribution's lower tail."""
    return sum(
        comb(draws, kept) * share**kept * (1 - share) ** (draws - kept) for kept in range(wanted)
    )
