"""What a claim may ask for: a pool there is, and tags that its release draws together."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .models import Pool
from .problems import ConflictingTags, NoPool, UnknownPool, UnknownTag

FRESH = 2  # seconds that a process may take a pool for what it was
_lately: dict[str | None, tuple[float, Pool]] = {}


def pool_lately(slug: str | None) -> Pool:
    """As `find_pool`, without asking the database each time: for whoever has the database check
    what he makes of it. All claims of a process share it, so nobody may change it."""
    seen, pool = _lately.get(slug, (0.0, None))
    if pool is None or time.monotonic() - seen > FRESH:
        pool = find_pool(slug)
        _lately[slug] = time.monotonic(), pool
    return pool


def find_pool(slug: str | None, with_tags: bool = True) -> Pool:
    """`with_tags=False` leaves the release's manifest in the database until it is asked for: it is
    most of the row, and a claim without tags has no use for it."""
    pools = Pool.objects.select_related("release").order_by("pk")
    if not with_tags:
        pools = pools.defer("release__manifest")
    found = pools.first() if slug is None else pools.filter(slug=slug).first()
    if found is not None:
        return found
    known = list(pools.values_list("slug", flat=True))
    if not known:
        raise NoPool("This server has no pool yet: load a release first.", retry_after=60)
    raise UnknownPool(
        f"There is no pool {slug!r}. Pools: {', '.join(known)}.", field="pool", accepted=known
    )


def accepted_values(data: object) -> dict[str, list[str]]:
    """What the fields of a claim may hold, for whoever sent `data` with a fault in it."""
    pools = list(Pool.objects.select_related("release").order_by("pk"))
    if not pools:
        return {}
    slug = data.get("pool") if isinstance(data, dict) else None
    meant = next((pool for pool in pools if pool.slug == slug), pools[0])
    return {"pool": [pool.slug for pool in pools], "tags": sorted(meant.release.tags)}


def check_tags(pool: Pool, tags: Sequence[str]) -> tuple[str, ...]:
    """The tags sorted and without doubles, each one known and at most one of a group."""
    if not tags:
        return ()
    groups = pool.release.tags
    wanted = tuple(sorted(set(tags)))
    by_group: dict[str, str] = {}
    for tag in wanted:
        if tag not in groups:
            raise UnknownTag(
                f"Pool {pool.slug!r} has no tag {tag!r}.", field="tags", accepted=sorted(groups)
            )
        other = by_group.setdefault(groups[tag], tag)
        if other != tag:
            raise ConflictingTags(
                f"{other!r} and {tag!r} are both a {groups[tag]}: ask for one of them.",
                field="tags",
                accepted=sorted(groups),
            )
    _refuse_forbidden(pool, by_group)
    return wanted


def _refuse_forbidden(pool: Pool, by_group: dict[str, str]) -> None:
    """What the release never draws together would be waited for in vain."""
    for rule in pool.release.rules:
        tag, other = by_group.get(rule.group), by_group.get(rule.other)
        if tag in rule.tags and other is not None and other not in rule.allowed:
            raise ConflictingTags(
                f"{tag!r} is never drawn with {other!r}: leave one of them out.",
                field="tags",
                accepted=[allowed for allowed in rule.allowed if allowed],
            )
