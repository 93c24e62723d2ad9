"""Which tags a release can draw: those of another release, of its prototype's training, or none.

A vocabulary is groups of tags with their shares, and rules of what does not go together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import releases, storage
from .models import Release
from .parts import Part
from .problems import NoSuchRelease

NONE, OF_PROTOTYPE = "none", "prototype"


class Unknown(LookupError):
    """There is no such vocabulary; the message says what there is."""


@dataclass(frozen=True)
class Vocabulary:
    key: str
    title: str
    groups: Mapping[str, Mapping[str, float]]

    @property
    def count(self) -> int:
        return sum(len(tags) for tags in self.groups.values())


def choices(prototype: Part | None = None) -> list[Vocabulary]:
    """What can be chosen; the same vocabulary of several releases is there once."""
    found = [Vocabulary(OF_PROTOTYPE, "what the prototype was trained with", _own(prototype)[0])]
    seen: list[Any] = []
    for release in Release.objects.order_by("created_at"):
        if release.manifest.get("tags") and (meant := _meant(release)) not in seen:
            seen.append(meant)
            found.append(Vocabulary(release.digest, release.title, release.manifest["tags"]))
    return [*found, Vocabulary(NONE, "none: no tags", {})]


def read(key: str, prototype: Part | None) -> tuple[Mapping[str, Any], list[Any]]:
    """(groups, rules) of a vocabulary."""
    if key in ("", NONE):
        return {}, []
    if key == OF_PROTOTYPE:
        return _own(prototype)
    try:
        return _of_release(releases.find(key))
    except NoSuchRelease:
        raise Unknown(f"It is {NONE}, {OF_PROTOTYPE}, or the digest of a release.") from None


def key_in(release: Release) -> str:
    """The choice that means this release's tags: the oldest release that has the same."""
    if not release.manifest.get("tags"):
        return NONE
    for other in Release.objects.order_by("created_at"):
        if other.manifest.get("tags") and _meant(other) == _meant(release):
            return other.digest
    return release.digest


def _own(prototype: Part | None) -> tuple[Mapping[str, Any], list[Any]]:
    """What a prototype itself brings: its StyleGAN2's notes, else those of its first release."""
    if prototype is None or prototype.trouble:
        return {}, []
    if prototype.shape.groups:
        return prototype.shape.groups, list(prototype.shape.rules)
    for release in sorted(prototype.releases, key=lambda row: row.created_at):
        groups, rules = _of_release(release)
        if groups:
            return groups, rules
    return {}, []


def _of_release(release: Release) -> tuple[Mapping[str, Any], list[Any]]:
    """From its file, not its row: the order of tags is the order of words in a caption, and a
    PostgreSQL row does not keep it."""
    try:
        manifest = json.loads(storage.place(release.digest).read_bytes())
    except (OSError, ValueError):
        manifest = release.manifest
    return manifest.get("tags", {}), list(manifest.get("params", {}).get("rules", ()))


def _meant(release: Release) -> Any:
    return release.manifest["tags"], release.manifest.get("params", {}).get("rules", [])
