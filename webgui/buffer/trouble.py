"""What failed orders do to their pool: a reason for people to read, and a pause that grows."""

from __future__ import annotations

import logging
from datetime import timedelta

from django.db.models import F
from django.utils import timezone

from webgui.fleet.hearsay import clean

from . import canary
from .models import Batch, Pool

FIRST_PAUSE, LONGEST_PAUSE = 15, 600  # seconds, after failures in a row
log = logging.getLogger(__name__)


def blame(batch: Batch, reason: str, forgiven: int = 0) -> None:
    """Hold up what the batch was made with: all of the pool's orders, or the canary's alone; of a
    release that the pool has left by now, nothing."""
    pool = Pool.objects.get(pk=batch.pool_id)
    if batch.release_id == pool.release_id:
        note_trouble(pool, reason, forgiven)
    elif batch.release_id == pool.canary_id:
        canary.note_failure(pool, reason)


def note_trouble(pool: Pool, reason: str, forgiven: int = 0) -> None:
    """Show the reason, and order nothing for a while that doubles with each failure in a row.

    The first `forgiven` failures cause no pause.
    """
    reason = clean(reason)
    log.warning("Pool %s: %s", pool.slug, reason)
    Pool.objects.filter(pk=pool.pk).update(failures=F("failures") + 1, trouble=reason)
    failures = Pool.objects.values_list("failures", flat=True).get(pk=pool.pk) - forgiven
    if failures > 0:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
        Pool.objects.filter(pk=pool.pk).update(
            backoff_until=timezone.now() + timedelta(seconds=pause)
        )


def clear_trouble(pool: Pool) -> None:
    Pool.objects.filter(pk=pool.pk, failures__gt=0).update(
        failures=0, trouble="", backoff_until=None
    )
