"""The form's choices: pools and, for each, the traits its release can draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webgui.buffer.models import Pool


@dataclass(frozen=True)
class TraitGroup:
    name: str
    field: str
    tags: list[str]
    chosen: str


@dataclass(frozen=True)
class PoolChoice:
    slug: str
    name: str
    chosen: bool
    groups: list[TraitGroup]
    rules: list[dict[str, Any]]


def choices(posted: Mapping[str, str]) -> list[PoolChoice]:
    """Every pool, with what was posted (nothing, on a first visit) still chosen."""
    pools = list(Pool.objects.select_related("release").order_by("pk"))
    slugs = [pool.slug for pool in pools]
    first = posted.get("pool", "") if posted.get("pool") in slugs else next(iter(slugs), "")
    return [
        PoolChoice(pool.slug, pool.name, pool.slug == first, _groups(pool, posted), _rules(pool))
        for pool in pools
    ]


def rules(pools: list[PoolChoice]) -> dict[str, list[dict[str, Any]]]:
    """By pool, what its release would not draw together: the script takes it off the menu."""
    return {pool.slug: pool.rules for pool in pools if pool.rules}


def chosen_tags(pools: list[PoolChoice]) -> list[str]:
    own = (group for pool in pools if pool.chosen for group in pool.groups)
    return [group.chosen for group in own if group.chosen]


def _groups(pool: Pool, posted: Mapping[str, str]) -> list[TraitGroup]:
    groups = []
    for name, tags in pool.release.tag_groups.items():
        field = _field(pool.slug, name)
        groups.append(TraitGroup(name, field, sorted(tags), posted.get(field, "")))
    return groups


def _rules(pool: Pool) -> list[dict[str, Any]]:
    """The release's {"when": {group: tags}, "then": {group: tags}} with form fields for groups."""
    return [
        {
            "when": [_field(pool.slug, rule.group), rule.tags],
            "then": [_field(pool.slug, rule.other), rule.allowed],
        }
        for rule in pool.release.rules
    ]


def _field(slug: str, group: str) -> str:
    return f"tag.{slug}.{group}"


def read(posted: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The pool and the tags asked for; traits of the pools not chosen do not count."""
    slug = posted.get("pool") or None
    prefix = _field(slug or "", "")
    return slug, [tag for name, tag in posted.items() if tag and name.startswith(prefix)]
