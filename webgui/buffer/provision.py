"""Making pools, and changing what is theirs alone. Which release they have is `activation`'s."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from webgui.accounts import audit
from webgui.registry import loading
from webgui.registry.models import Release

from . import activation
from .models import OldStock, Pool
from .problems import BadPool, NoSuchPool

RESERVED = "new"  # the address of the form that opens a pool
EDITED = ("name", "low_watermark", "high_watermark", "batch_size", "paused")


def find(slug: str) -> Pool:
    pool = Pool.objects.select_related("release", "canary").filter(slug=slug).first()
    if pool is None:
        raise NoSuchPool(f"There is no pool {slug!r}.")
    return pool


@transaction.atomic
def create_pool(
    slug: str,
    release: Release,
    actor: audit.Actor,
    name: str = "",
    *,
    unpreviewed: bool = False,
    **settings: Any,
) -> Pool:
    """A pool that generates with this release from its first order on."""
    loading.lock(release)
    if not unpreviewed:
        release.refresh_from_db(fields=["state"])
        activation.need_preview(release)
    if slug == RESERVED:
        raise BadPool(f"{RESERVED!r} is no name for a pool: take another.", field="slug")
    pool = Pool(slug=slug, name=name or release.title, release=release, **settings)
    _check(pool)
    pool.save()
    loading.activate(release)
    audit.record(
        actor, "pool.created", pool, release=release.digest, title=release.title, **settings
    )
    return pool


@transaction.atomic
def edit_pool(pool: Pool, actor: audit.Actor, **changes: Any) -> Pool:
    """Change some of `EDITED`. The audit log gets what each was and is."""
    locked = Pool.objects.select_for_update(no_key=True, of=("self",)).filter(pk=pool.pk)
    row = locked.select_related("release", "canary").first()
    if row is None:
        raise NoSuchPool(f"There is no pool {pool.slug!r} any more.")
    before = {name: getattr(row, name) for name in EDITED}
    for name in EDITED:
        setattr(row, name, changes.get(name, before[name]))
    _check(row)
    changed = {name: [before[name], getattr(row, name)] for name in EDITED}
    changed = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
    if changed:
        row.save(update_fields=list(changed))
        audit.record(actor, _act(changed), row, **changed)
    return row


def point_pool(
    slug: str,
    release: Release,
    name: str = "",
    *,
    actor: audit.Actor = audit.COMMAND_LINE,
    unpreviewed: bool = False,
    **sizes: int,
) -> tuple[Pool, bool]:
    """Make the pool generate with this release, creating it if need be; and whether its release
    changed. A pool's first release needs no preview: without one there is nobody to make it."""
    pool = Pool.objects.select_related("release").filter(slug=slug).first()
    if pool is None:
        return create_pool(slug, release, actor, name, unpreviewed=True, **sizes), True
    with transaction.atomic():
        edit_pool(pool, actor, **sizes, **({"name": name} if name else {}))
        if pool.release == release:
            return pool, False
        pool = activation.activate(pool, release, actor, OldStock.MIX, unpreviewed=unpreviewed)
    return pool, True


def _act(changed: dict[str, Any]) -> str:
    if list(changed) != ["paused"]:
        return "pool.edited"
    return "pool.paused" if changed["paused"][1] else "pool.resumed"


def _check(pool: Pool) -> None:
    try:
        pool.full_clean()
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        shown = "" if field == "__all__" else field
        raise BadPool(" ".join(messages), field=shown) from error
