"""How the service stands, written down tick by tick and kept for a day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Count, Sum
from django.utils import timezone

from webgui.buffer.levels import level
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.registry.models import Release
from webgui.watching import tallies

from . import roster
from .models import Sample

EVERY_SECONDS = 15
KEPT = timedelta(hours=25)
SETTLING = timedelta(seconds=2)
POINTS = 72
"""A chart shows no more: an hour goes by the minute, a day by twenty of them."""


def take() -> Sample | None:
    """Write one sample; None where another clock has written this slot's."""
    now = timezone.now()
    last = Sample.objects.order_by("-at").first()
    since = max(last.at, now - KEPT) if last else now - timedelta(seconds=EVERY_SECONDS)
    try:
        with transaction.atomic():
            claims = _claims(since, now)
            sample = Sample.objects.create(
                slot=int(now.timestamp() // EVERY_SECONDS),
                at=now,
                seconds=max((now - since).total_seconds(), 1.0),
                claims=sum(claims.values()),
                images=_images(since, now),
                workers=roster.at_work().count(),
                pools={pool.slug: _standing(pool) for pool in _pools()},
            )
            tallies.add(*(("claims", {"pool": slug}, many) for slug, many in claims.items()))
    except IntegrityError:
        return None
    Sample.objects.filter(at__lt=now - KEPT).delete()
    return sample


def _pools() -> list[Pool]:
    return list(Pool.objects.select_related("release"))


def _standing(pool: Pool) -> dict[str, int]:
    now = level(pool)
    resting = pool.paused or pool.release.state == Release.State.RETIRED
    low = 0 if resting else pool.low_watermark
    return {"available": now.available, "waiting": now.waiting, "low": low}


def _claims(since: datetime, until: datetime) -> dict[str, int]:
    """By pool. Those of this very moment may not be committed yet; the next sample has them."""
    since, until = since - SETTLING, until - SETTLING
    claimed = Avatar.objects.filter(
        state=Avatar.State.CLAIMED, claimed_at__gt=since, claimed_at__lte=until
    )
    return dict(claimed.order_by().values_list("pool__slug").annotate(Count("pk")))


def _images(since: datetime, until: datetime) -> int:
    settled = Batch.objects.filter(settled_at__gt=since, settled_at__lte=until)
    return settled.aggregate(sum=Sum("ingested_count"))["sum"] or 0


def lasted(seconds: float, so: Callable[[Sample], bool]) -> bool:
    """Whether it was so all the time for so long. Unknown counts as no."""
    now = timezone.now()
    begin = now - timedelta(seconds=seconds)
    lately = list(Sample.objects.filter(at__gte=begin - timedelta(seconds=2 * EVERY_SECONDS)))
    covered = bool(lately) and lately[0].at <= begin
    return covered and all(so(sample) for sample in lately)


def history(span: timedelta) -> dict[str, list]:
    """The charts' series, one column each: times in seconds, rates a minute, levels by pool."""
    rows = list(Sample.objects.filter(at__gte=timezone.now() - span))
    groups = _thinned(rows)
    slugs = sorted({slug for row in rows for slug in row.pools})
    return {
        "times": [round(group[-1].at.timestamp()) for group in groups],
        "claims": [_a_minute(group, "claims") for group in groups],
        "images": [_a_minute(group, "images") for group in groups],
        "workers": [group[-1].workers for group in groups],
        "pools": [
            {"pool": slug, "available": [_available(group, slug) for group in groups]}
            for slug in slugs
        ],
    }


def _thinned(rows: list[Sample]) -> list[list[Sample]]:
    each = max(1, -(-len(rows) // POINTS))
    return [rows[start : start + each] for start in range(0, len(rows), each)]


def _a_minute(group: list[Sample], what: str) -> float:
    seconds = sum(row.seconds for row in group)
    return round(60 * sum(getattr(row, what) for row in group) / seconds, 2)


def _available(group: list[Sample], slug: str) -> int | None:
    """The lowest of the group: a shelf that was empty for a moment must not be averaged away."""
    found = [row.pools[slug]["available"] for row in group if slug in row.pools]
    return min(found, default=None)
