"""What workers generate with: releases, and the checkpoints they are composed of."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

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
      │                     ^    ^        │
      └──(a new pool's)─────┘    └────────┘

    active: a pool generates with it, or tries it as its canary. retired: none does any more.
    A pool that had a release before is given none that was not previewed.
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

    def natural_key(self) -> tuple[str]:
        return (self.digest,)

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

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(entry.get("bytes", 0) for entry in self.manifest.get("components", ()))

    def read_manifest(self) -> ReleaseManifest:
        return ReleaseManifest.model_validate(self.manifest)


class Checkpoint(models.Model):
    """One weight file that an administrator brought, and what inspection made of it.

    uploading ──> inspecting ──> ready | unsupported | corrupt | unsafe | incompatible
        │             ^                     │                                  │
        └─> gone      └──(inspect again)────┴──────────────────────────────────┘

    gone: the upload was given up or expired, or the file turned out to be one known already.
    The file as uploaded is kept while it may be looked at again: until `ready`, when its
    converted form takes its place, or until it is found `unsafe`.
    Every arrow is one conditional update, in `uploads` (the first) and `inspection` (the rest).
    """

    class State(models.TextChoices):
        UPLOADING = "uploading"
        INSPECTING = "inspecting"
        READY = "ready"
        UNSUPPORTED = "unsupported"
        CORRUPT = "corrupt"
        UNSAFE = "unsafe"
        INCOMPATIBLE = "incompatible"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255)  # the file's, as its owner called it
    state = models.CharField(max_length=12, choices=State, default=State.UPLOADING)
    size = models.BigIntegerField()
    # Of the uploaded file; known once it is whole.
    sha256 = models.CharField(max_length=64, unique=True, null=True, blank=True)
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    # The id of the web request that began its upload, or asked for it to be inspected again.
    request = models.CharField(max_length=64, blank=True, default="", db_default="")
    # What inspection found: what it is, why it is refused, everything else worth showing.
    kind = models.CharField(max_length=40, blank=True)
    reason = models.TextField(blank=True)
    report = models.JSONField(default=dict)
    # The converted form: [{"file": …, "sha256": …, "bytes": …}, …], each stored by its digest.
    files = models.JSONField(default=list)
    stored_bytes = models.BigIntegerField(default=0)
    # An administrator's word on what it is, which inspection checks.
    kind_wanted = models.CharField(max_length=40, blank=True)
    # Inspections begun, and until when the present one has time: then another may begin.
    attempts = models.PositiveSmallIntegerField(default=0)
    inspect_deadline = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def original(self) -> Path:
        """Where the file lies as it was uploaded."""
        return Path(settings.UPLOAD_ROOT) / str(self.pk)


class Upload(models.Model):
    """A tus upload: how much of a checkpoint's file is here.

    `offset` is the truth, not the file's length: bytes beyond it were never acknowledged.
    A row stays for a while after its file is whole, for clients that missed the last answer.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Another's, once the file turned out to be the same.
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.CASCADE, related_name="uploads")
    length = models.BigIntegerField()
    offset = models.BigIntegerField(default=0)
    metadata = models.TextField(blank=True)  # as the client sent it, to be given back
    announced = models.CharField(max_length=64, blank=True)  # SHA-256 the client told ahead
    # The request that may write: a newer one takes over from one whose connection is dead.
    writer = models.UUIDField(null=True, blank=True)
    touched_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(offset__gte=0, offset__lte=models.F("length")),
                name="upload_offset_in_file",
            )
        ]

    @property
    def whole(self) -> bool:
        return self.offset == self.length

    @property
    def expires_at(self) -> datetime:
        return self.touched_at + timedelta(hours=settings.UPLOAD_EXPIRY_HOURS)
