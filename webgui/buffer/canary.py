"""Trying a release on a share of a pool's orders before it is given all of them.

    start(pool, release, actor, share=10)
    stop(pool, actor)                               # its images leave the buffer
    activation.activate(pool, pool.canary, actor)   # promotes it

Its images lie on the ring among the others, so that about that share of the visitors see it. It
gets every tenth order (at 10 percent), not each with a chance of one in ten: the share holds
from the first orders on. Its failures never hold up the pool: after three in a row it is given
no more orders, until an administrator decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import F

from webgui.accounts import audit
from webgui.fleet.hearsay import clean
from webgui.registry import loading
from webgui.registry.models import Release

from . import stock
from .activation import lock, need_preview
from .models import Batch, OldStock, Pool
from .problems import BadPool, InUse, NoCanary

SHARE = 10  # percent
LEAST, MOST = 1, 99
WHOLE = 100
PATIENCE = 3  # failed orders in a row


def start(
    pool: Pool,
    release: Release,
    actor: audit.Actor,
    share: int = SHARE,
    *,
    seen: int | None = None,
) -> Pool:
    """Try `release` from the next order on; with the canary there is, another share of it, and
    another chance. What a canary before it brought stays in the buffer."""
    if not LEAST <= share <= MOST:
        raise BadPool(f"A canary has {LEAST} to {MOST} percent of the orders.", field="share")
    with transaction.atomic():
        pool = lock(pool, seen)
        need_preview(release)
        if pool.release == release:
            raise InUse(f"{pool} generates all of its avatars with {release} already.")
        before = pool.canary
        loading.lock(release, *([before] if before else []))
        loading.activate(release)
        # The first order from now on is the canary's: nobody should wait ten orders to see it.
        _set(pool, release, canary_share=share, canary_due=WHOLE - share)
        if before is not None and before != release:
            loading.retire_if_unused(before)
        stock.decide_open_orders(pool, Batch.objects.filter(release=release), "")
        audit.record(
            actor,
            "pool.canary_started",
            pool,
            release=release.digest,
            title=release.title,
            share=share,
        )
    return pool


def stop(
    pool: Pool,
    actor: audit.Actor,
    old_stock: str = OldStock.DISCARD,
    *,
    seen: int | None = None,
) -> Pool:
    """All orders go to the pool's release again. The canary's images are discarded, or stay."""
    with transaction.atomic():
        pool = lock(pool, seen)
        canary = pool.canary
        if canary is None:
            raise NoCanary(f"{pool} tries no canary: there is nothing to stop.")
        loading.lock(canary)
        _set(pool, None)
        loading.retire_if_unused(canary)
        discarded = 0
        if old_stock == OldStock.DISCARD:
            discarded = stock.discard(pool, stock.available(pool).filter(release=canary))
        stock.decide_open_orders(pool, Batch.objects.filter(release=canary), old_stock)
        audit.record(
            actor,
            "pool.canary_stopped",
            pool,
            release=canary.digest,
            title=canary.title,
            old_stock=str(old_stock),
            images={"discarded": discarded},
        )
    return pool


def current(pool: Pool) -> Release:
    """The release being tried."""
    if pool.canary is None:
        raise NoCanary(f"{pool} tries no canary.")
    return pool.canary


def is_given_up(pool: Pool) -> bool:
    return pool.canary_failures >= PATIENCE


def release_for(pool: Pool, tags: Sequence[str] = ()) -> Release:
    """What the pool's next order is made with. The canary gets none with tags it cannot draw."""
    canary = pool.canary
    due = pool.canary_due + pool.canary_share >= WHOLE
    if canary is None or not due or is_given_up(pool) or not canary.tags.keys() >= set(tags):
        return pool.release
    return canary


def count_order(pool: Pool, release: Release) -> None:
    """An order was written. Call it with the pool's row locked."""
    if pool.canary_id is None:
        return
    spent = WHOLE if release.pk == pool.canary_id else 0
    # A turn that the canary could not take waits for it, but more than one is not saved up.
    due = min(pool.canary_due + pool.canary_share - spent, WHOLE)
    Pool.objects.filter(pk=pool.pk).update(canary_due=due)


def note_failure(pool: Pool, reason: str) -> None:
    Pool.objects.filter(pk=pool.pk).update(
        canary_failures=F("canary_failures") + 1, canary_trouble=clean(reason)
    )


def clear_failures(pool: Pool) -> None:
    Pool.objects.filter(pk=pool.pk, canary_failures__gt=0).update(
        canary_failures=0, canary_trouble=""
    )


def _set(pool: Pool, release: Release | None, **numbers: int) -> None:
    fields = {"canary": release, "canary_failures": 0, "canary_trouble": "", **numbers}
    Pool.objects.filter(pk=pool.pk).update(**fields)
    for name, value in fields.items():
        setattr(pool, name, value)
