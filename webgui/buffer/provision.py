"""Pointing pools at releases."""

from __future__ import annotations

from django.db import transaction

from webgui.registry import loading
from webgui.registry.models import Release

from .models import Pool


@transaction.atomic
def point_pool(slug: str, release: Release, name: str = "", **sizes: int) -> tuple[Pool, bool]:
    """Make the pool generate with this release from its next order on, creating it if need be.

    Returns the pool and whether anything changed. Images already in the buffer stay; the release
    it used before is retired once no pool uses it.
    """
    pool = Pool.objects.select_for_update().filter(slug=slug).first() or Pool(slug=slug)
    before = pool.release if pool.pk else None
    pool.name = name or pool.name or release.title
    for field, value in sizes.items():
        setattr(pool, field, value)
    pool.release = release
    save_pool(pool, before)
    return pool, before != release


@transaction.atomic
def save_pool(pool: Pool, before: Release | None) -> None:
    """Save a pool that used the release `before` until now; what was wrong with that one is no
    trouble of the next."""
    loading.activate(pool.release)
    if before != pool.release:
        pool.trouble, pool.failures, pool.backoff_until = "", 0, None
    pool.full_clean()
    pool.save()
    if before is not None and before != pool.release:
        loading.retire_if_unused(before)
