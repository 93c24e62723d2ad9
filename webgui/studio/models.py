"""Live requests to workers, and what they brought."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone

from webgui.registry.models import Release


class Job(models.Model):
    """Something one worker does while somebody waits for it.

    queued ──> running ──> done
      │ ^         │ ├────> failed      (what it brought was not as agreed)
      │ └─────────┤ └────> cancelled
      │      (lost, or the worker could not: another attempt, at most 3)
      ├──────────────────> failed      (no attempt left, or no worker came in time)
      └──────────────────> cancelled

    queued: in a worker's line, or waiting for a worker (`worker` is empty then).
    A late result is better than none: failed may still become done.
    Every arrow is one conditional update, in `jobs` and, into done, in `deliveries`.
    """

    class Kind(models.TextChoices):
        PREVIEW = "preview"

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    MAX_ATTEMPTS = 3
    OPEN = (State.QUEUED, State.RUNNING)
    SETTLED = (State.DONE, State.FAILED, State.CANCELLED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40, choices=Kind)
    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="jobs")
    params = models.JSONField(default=dict)
    asked_by = models.CharField(max_length=150, blank=True)
    request = models.CharField(max_length=64, blank=True, default="", db_default="")  # its id
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    # How often it was given to a worker, to whom last, and to whom ever.
    attempt = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=63, blank=True)
    tried = models.JSONField(default=list)
    # Until when this worker must give the next sign of life.
    deadline = models.DateTimeField(null=True, blank=True)
    step = models.PositiveIntegerField(default=0)
    of = models.PositiveIntegerField(default=1)
    note = models.CharField(max_length=200, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    # Why the last attempt came to nothing.
    reason = models.TextField(blank=True)
    # What there is to say about a finished one; a kind may keep more in a row of its own.
    result = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True, db_index=True)

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["state"])]
        constraints = [
            models.UniqueConstraint(
                fields=["release"],
                condition=Q(kind="preview", state__in=["queued", "running"]),
                name="job_one_preview_at_a_time",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id} ({self.state})"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN

    @property
    def fraction(self) -> float:
        """How far it is, from 0 to 1."""
        return min(1.0, self.step / self.of) if self.of else 0.0


class Preview(models.Model):
    """What a worker found out about a release by drawing with it.

    pending ──> good | bad     (once its job is done or failed; a late result judges anew)

    It lies here and not in the registry because a job is what brings it: the registry knows of
    releases and nothing of workers, and of a preview only that it moved a draft to `previewed`.
    """

    class Verdict(models.TextChoices):
        PENDING = "pending"
        GOOD = "good"
        BAD = "bad"

    job = models.OneToOneField(
        Job, on_delete=models.CASCADE, primary_key=True, related_name="preview"
    )
    verdict = models.CharField(max_length=7, choices=Verdict, default=Verdict.PENDING)
    # [{"code", "text", "advice"}]: what speaks against the release; empty where it is good.
    reasons = models.JSONField(default=list)
    # `PreviewReport` of the contract, as the worker sent it; empty until then.
    figures = models.JSONField(default=dict)
    # [{"seed", "digest", "bytes", "width", "height", "score", "safety", "tags"}] in the grid's
    # order; the files lie in content-addressed storage (`pictures.stored(digest, SHELF)`).
    images = models.JSONField(default=list)

    SHELF = "previews"

    class Meta:
        ordering = ["-job__created_at"]

    def __str__(self) -> str:
        return f"preview {self.pk} ({self.verdict})"

    @property
    def release(self) -> Release:
        return self.job.release
