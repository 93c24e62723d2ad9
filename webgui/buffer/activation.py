"""Giving a pool another release, in one step that can be taken back.

    activate(pool, release, actor, OldStock.MIX)    # from its next order on
    roll_back(pool, actor)                          # to the release it had before

`seen` is the version of the pool that the decision was made from; without it, the version of the
`pool` that is given. Where the pool has changed since, nothing is done and `ChangedMeanwhile` is
raised: of two administrators at once one wins, and the other looks again.

Claims go on meanwhile: they read the pool's row without its lock and pass over avatars that are
being changed. Who finds the buffer empty waits for the pool's lock and looks again (`claim`), so
once this returns nobody is given a discarded image.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from webgui.accounts import audit
from webgui.registry import loading
from webgui.registry.models import Release

from . import stock, tickets
from .models import Activation, OldStock, Pool
from .problems import ChangedMeanwhile, InUse, NoSuchPool, NothingToRollBack, NotPreviewed
from .stock import Moved


def activate(
    pool: Pool,
    release: Release,
    actor: audit.Actor,
    old_stock: str = OldStock.MIX,
    *,
    seen: int | None = None,
    unpreviewed: bool = False,
) -> Pool:
    """The pool with its new release. `unpreviewed` is for a release that comes with the product.

    Where `release` is the pool's canary, this promotes it.
    """
    with transaction.atomic():
        pool = lock(pool, seen)
        if not unpreviewed:
            need_preview(release)
        before, promoted = pool.release, pool.canary_id == release.pk
        if before == release:
            raise InUse(f"{pool} generates with {release} already; nothing was changed.")
        moved = _turn(pool, release, old_stock)
        Activation.objects.create(pool=pool, release=release, before=before, old_stock=old_stock)
        act = "pool.canary_promoted" if promoted else "pool.activated"
        _tell(pool, actor, act, before, old_stock, moved)
    return pool


def roll_back(
    pool: Pool,
    actor: audit.Actor,
    old_stock: str = OldStock.DISCARD,
    *,
    seen: int | None = None,
) -> Pool:
    """The pool with the release it had before the latest activation that stands."""
    with transaction.atomic():
        pool = lock(pool, seen)
        latest = last_activation(pool)
        if latest is None:
            raise NothingToRollBack(f"{pool} has had no other release before {pool.release}.")
        Activation.objects.filter(pk=latest.pk, undone_at=None).update(undone_at=timezone.now())
        before = pool.release
        moved = _turn(pool, latest.before, old_stock)
        _tell(pool, actor, "pool.rolled_back", before, old_stock, moved)
    return pool


def last_activation(pool: Pool) -> Activation | None:
    """The one that rolling back would undo."""
    standing = Activation.objects.filter(pool=pool, undone_at=None)
    return standing.select_related("before").first()


def lock(pool: Pool, seen: int | None = None) -> Pool:
    """The pool's row as it is now, locked and one version further; call it in a transaction."""
    seen = pool.version if seen is None else seen
    if not Pool.objects.filter(pk=pool.pk, version=seen).update(version=F("version") + 1):
        if not Pool.objects.filter(pk=pool.pk).exists():
            raise NoSuchPool(f"There is no pool {pool.slug!r} any more.")
        raise ChangedMeanwhile(
            f"{pool} was changed by somebody else since you looked. Nothing was done: look at "
            "it again and decide anew."
        )
    return Pool.objects.select_related("release", "canary").get(pk=pool.pk)


def need_preview(release: Release) -> None:
    if release.state == Release.State.DRAFT:
        raise NotPreviewed(
            f"{release} has no good preview yet, so no pool can be given it. Preview it first."
        )


def _turn(pool: Pool, release: Release, old_stock: str) -> Moved:
    before = pool.release
    loading.lock(before, release)
    loading.activate(release)
    pool.release = release
    if pool.canary_id == release.pk:
        pool.canary = None
    # What was wrong with the release before is no trouble of this one.
    Pool.objects.filter(pk=pool.pk).update(
        release=release,
        canary=pool.canary,
        trouble="",
        failures=0,
        backoff_until=None,
    )
    loading.retire_if_unused(before)
    moved = stock.turn(pool, old_stock)
    tickets.serve(pool)
    return moved


def _tell(
    pool: Pool, actor: audit.Actor, act: str, before: Release, old_stock: str, moved: Moved
) -> None:
    audit.record(
        actor,
        act,
        pool,
        release=pool.release.digest,
        title=pool.release.title,
        before=before.digest,
        before_title=before.title,
        old_stock=str(old_stock),
        images=moved.told(),
    )
