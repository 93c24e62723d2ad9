"""Which tags an image gets: decided by its seed, the same on every machine and in every batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from models_core.releases.bundle import ReleaseError

ATTEMPTS = 1000
WHOLE = 0.999  # frequencies are rounded: a group that sums to this much always has a tag


class Traits:
    """The tag groups of a release: at most one tag of each group on an image.

    `groups` is {"hair colour": {"pink hair": 0.07, …}, …}: frequencies, whose rest to 1 is the
    share of images with no tag of the group. `rules` are the data set's: where a `when` group has
    one of its tags, the `then` group must have one of its own ("" is none); for example
    {"when": {"beard": ["full beard"]}, "then": {"hair length": ["", "short hair"]}}.
    """

    def __init__(
        self,
        groups: Mapping[str, Mapping[str, float]],
        rules: Sequence[Mapping[str, Mapping[str, Sequence[str]]]] = (),
    ) -> None:
        self.groups = groups
        self.rules = [_parse_rule(rule, groups) for rule in rules]
        self.group_of: dict[str, str] = {}
        for group, tags in groups.items():
            shares = list(tags.values())
            if any(share < 0 for share in shares) or sum(shares) > 1.001:
                raise ReleaseError(f"tag group {group!r}: frequencies must be ≥ 0 and sum to ≤ 1")
            for tag in tags:
                if not tag or tag in self.group_of:
                    raise ReleaseError(f"tag {tag!r} of {group!r} is empty or in two groups")
                self.group_of[tag] = group

    def asked(self, tags: Sequence[str]) -> dict[str, str]:
        """The asked tags by group; refuses unknown, clashing and forbidden combinations."""
        chosen: dict[str, str] = {}
        for tag in tags:
            group = self.group_of.get(tag)
            if group is None:
                known = ", ".join(self.group_of)
                raise ReleaseError(f"unknown tag {tag!r}; this release knows: {known}")
            if chosen.setdefault(group, tag) != tag:
                raise ReleaseError(f"{chosen[group]!r} and {tag!r} are both of {group!r}: ask one")
        for (group, values), (other, allowed) in self.rules:
            if chosen.get(group) in values and chosen.get(other, allowed[0]) not in allowed:
                raise ReleaseError(f"{chosen[group]!r} does not go with {chosen[other]!r}")
        return chosen

    def draw(self, seed: int, tags: Sequence[str] = ()) -> tuple[str, ...]:
        """The tags of the image with this seed, in the groups' order, `tags` among them."""
        asked = self.asked(tags)
        for attempt in range(ATTEMPTS):
            chosen = {g: asked.get(g) or self._pick(seed, g, attempt) for g in self.groups}
            if self._allowed(chosen):
                return tuple(tag for tag in chosen.values() if tag)
        raise ReleaseError(f"the rules leave nothing to draw with {', '.join(tags)}: ask less")

    def _pick(self, seed: int, group: str, attempt: int) -> str:
        # A hash a group, not one generator for all: adding a group leaves the others as they were.
        digest = hashlib.sha256(f"{seed}/{group}/{attempt}".encode()).digest()
        point = int.from_bytes(digest[:7]) / 2**56
        shares = self.groups[group]
        total = sum(shares.values())
        point *= total if total >= WHOLE else 1.0
        for tag, share in shares.items():
            point -= share
            if point < 0:
                return tag
        return ""

    def _allowed(self, chosen: Mapping[str, str]) -> bool:
        return all(
            chosen[group] not in values or chosen[other] in allowed
            for (group, values), (other, allowed) in self.rules
        )


Side = tuple[str, tuple[str, ...]]


def _parse_rule(rule: Any, groups: Mapping[str, Mapping[str, float]]) -> tuple[Side, Side]:
    try:
        ((group, values),) = rule["when"].items()
        ((other, allowed),) = rule["then"].items()
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ReleaseError(f"a rule is {{when: {{group: tags}}, then: …}}, not {rule}") from error
    if group not in groups or other not in groups or not allowed:
        raise ReleaseError(f"rule {rule} names a group that the release does not have")
    return (group, tuple(values)), (other, tuple(allowed))
