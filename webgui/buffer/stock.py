"""What becomes of the images in the buffer when a pool turns from one release to another.

All of it inside the transaction that turns the pool, with the pool's row locked. A claim that has
an image in hand keeps it: each row is changed only where it is still available, and claims pass
over rows that are being changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from .models import KEY_SPACE, Avatar, AvatarTag, Batch, OldStock, Pool
from .pictures import stored

ROWS = 200  # a statement's
State = Avatar.State


@dataclass
class Moved:
    """Images, for the audit log."""

    kept: int = 0  # old ones that are still handed out
    discarded: int = 0
    brought_back: int = 0

    def told(self) -> dict[str, int]:
        return asdict(self)


def turn(pool: Pool, old_stock: str) -> Moved:
    """Treat all that is not of the pool's present release or canary as `old_stock` says, and
    bring back what was discarded of the release when the pool left it the last time."""
    present = _present(pool)
    moved = Moved(brought_back=_bring_back(pool))
    old = available(pool).exclude(release__in=present)
    if old_stock == OldStock.DISCARD:
        moved.discarded = discard(pool, old)
    else:
        moved.kept = old.count()
    _mingle(pool)
    if old_stock == OldStock.KEEP:
        _put_first(pool, present)
    decide_open_orders(pool, Batch.objects.exclude(release__in=present), old_stock)
    decide_open_orders(pool, Batch.objects.filter(release__in=present), "")
    return moved


def discard(pool: Pool, avatars: QuerySet[Avatar]) -> int:
    """Out of every claim's reach. Their files stay for a while, in case the pool comes back."""
    of_pool = AvatarTag.objects.filter(pool=pool)
    discarded = avatars.update(state=State.RETIRED, retired_at=timezone.now())
    # Claims too take an avatar's row before its tags'.
    of_pool.filter(avatar__state=State.RETIRED).delete()
    return discarded


def decide_open_orders(pool: Pool, batches: QuerySet[Batch], old_stock: str) -> None:
    """Failed and overdue ones as well: a late batch is taken in all the same."""
    unsettled = batches.filter(pool=pool).exclude(state__in=Batch.SETTLED)
    unsettled.exclude(old_stock=old_stock).update(old_stock=old_stock)


def shelve(pool: Pool, avatars: Collection[Avatar], old_stock: str = "") -> None:
    """Write the rows of a batch; `old_stock` is what was decided while it was under way."""
    if old_stock == OldStock.DISCARD:
        now = timezone.now()
        for avatar in avatars:
            avatar.state, avatar.retired_at = State.RETIRED, now
    elif old_stock == OldStock.KEEP and pool.old_first:
        for avatar in avatars:
            avatar.key -= KEY_SPACE
    Avatar.objects.bulk_create(avatars, batch_size=ROWS)
    offer_tags(avatar for avatar in avatars if avatar.state == State.AVAILABLE)


def forget_empty_lanes() -> int:
    """Claims need not look into a first lane that is used up."""
    emptied = 0
    for pool in Pool.objects.filter(old_first=True):
        with transaction.atomic():
            Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
            coming = Batch.objects.filter(pool=pool, old_stock=OldStock.KEEP)
            if coming.exclude(state__in=Batch.ENDED).exists():
                continue
            if not available(pool).filter(key__lt=0).exists():
                _set_old_first(pool, False)
                emptied += 1
    return emptied


def offer_tags(avatars: Iterable[Avatar]) -> None:
    AvatarTag.objects.bulk_create(
        [
            AvatarTag(avatar=avatar, pool_id=avatar.pool_id, tag=tag, key=avatar.key)
            for avatar in avatars
            for tag in avatar.tags
        ],
        batch_size=ROWS,
    )


def _bring_back(pool: Pool) -> int:
    """Retired images of the pool's release are available again, where their files still are."""
    retired = Avatar.objects.filter(pool=pool, release=pool.release_id, state=State.RETIRED)
    here = [avatar for avatar in retired.iterator() if stored(avatar.digest).exists()]
    for start in range(0, len(here), ROWS):
        some = here[start : start + ROWS]
        Avatar.objects.filter(pk__in=[avatar.pk for avatar in some]).update(
            state=State.AVAILABLE, retired_at=None
        )
        offer_tags(some)
    return len(here)


def _mingle(pool: Pool) -> None:
    """Everything onto the ring, where claims pick at random."""
    if not pool.old_first:
        return
    for rows in (available(pool), AvatarTag.objects.filter(pool=pool)):
        rows.filter(key__lt=0).update(key=F("key") + KEY_SPACE)
    _set_old_first(pool, False)


def _put_first(pool: Pool, present: Collection[int]) -> None:
    """What is not of the present releases into the first lane."""
    old = available(pool).exclude(release__in=present)
    old.update(key=F("key") - KEY_SPACE)
    tags = AvatarTag.objects.filter(pool=pool).exclude(avatar__release__in=present)
    tags.update(key=F("key") - KEY_SPACE)
    _set_old_first(pool, True)


def _set_old_first(pool: Pool, old_first: bool) -> None:
    Pool.objects.filter(pk=pool.pk).update(old_first=old_first)
    pool.old_first = old_first


def available(pool: Pool) -> QuerySet[Avatar]:
    return Avatar.objects.filter(pool=pool, state=State.AVAILABLE)


def _present(pool: Pool) -> list[int]:
    return [key for key in (pool.release_id, pool.canary_id) if key is not None]
