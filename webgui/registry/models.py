"""What workers generate with."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models

from generator_worker.contract import ReleaseManifest


@dataclass(frozen=True)
class TraitRule:
    """Where `group` has one of `tags`, `other` must have one of `allowed` ("" is none)."""

    group: str
    tags: list[str]
    other: str
    allowed: list[str]


class Release(models.Model):
    """An immutable composition of weights and parameters, named by its digest.

    draft ──> previewed ──> active ──> retired
      └────────────(load_release --activate)──^ active; a retired release may be activated again.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        PREVIEWED = "previewed"
        ACTIVE = "active"
        RETIRED = "retired"

    # SHA-256 of release.json, which names every component by its digest.
    digest = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    title = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    manifest = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.title} ({self.digest[:12]})"

    @property
    def tag_groups(self) -> dict[str, dict[str, float]]:
        """Tags by group with their frequency: {"mouth": {"smiling": 0.3, …}, …}.

        By name, since PostgreSQL does not keep the order that the manifest had.
        """
        groups = self.manifest.get("tags", {})
        return {group: dict(sorted(tags.items())) for group, tags in sorted(groups.items())}

    @property
    def tags(self) -> dict[str, str]:
        """Every tag this release can draw, with its group."""
        return {tag: group for group, tags in self.tag_groups.items() for tag in tags}

    @property
    def tag_shares(self) -> dict[str, float]:
        """How frequent each tag is."""
        return {tag: share for tags in self.tag_groups.values() for tag, share in tags.items()}

    @property
    def rules(self) -> list[TraitRule]:
        """What this release never draws together. A rule that cannot be read is left to the
        worker, which refuses the release with a reason."""
        found = []
        for rule in self.manifest.get("params", {}).get("rules", ()):
            try:
                ((group, tags),) = rule["when"].items()
                ((other, allowed),) = rule["then"].items()
            except (AttributeError, KeyError, TypeError, ValueError):
                continue
            found.append(TraitRule(group, list(tags), other, list(allowed)))
        return found

    def read_manifest(self) -> ReleaseManifest:
        return ReleaseManifest.model_validate(self.manifest)
