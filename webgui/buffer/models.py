"""Pools of avatars, the batches that fill them, and the visitors' claims on them."""

from __future__ import annotations

import secrets
import uuid

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from generator_worker.contract import MAX_BATCH
from webgui.registry.models import Release

KEY_SPACE = 2**62


def random_key() -> int:
    """A place on the ring from which claims pick: `key >= random_key()`, first one wins."""
    return secrets.randbelow(KEY_SPACE)


class Pool(models.Model):
    """A named public supply of avatars in one style, kept between two watermarks."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="pools")
    low_watermark = models.PositiveIntegerField(default=24)
    high_watermark = models.PositiveIntegerField(default=64)
    # The most of one order; how many it really is goes by the speed of the worker that gets it.
    batch_size = models.PositiveIntegerField(default=MAX_BATCH)
    # Paused: nothing new is ordered; what is in the buffer is still handed out.
    paused = models.BooleanField(default=False)
    # Once below low it fills until high, however many orders that takes.
    filling = models.BooleanField(default=True)
    # Why the last orders failed, for people to read, and until when none is tried again.
    trouble = models.TextField(blank=True)
    failures = models.PositiveIntegerField(default=0)
    backoff_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(low_watermark__lte=F("high_watermark")), name="pool_low_lte_high"
            ),
            models.CheckConstraint(
                condition=Q(batch_size__gte=1, batch_size__lte=MAX_BATCH), name="pool_batch_size"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        return (self.slug,)

    @property
    def pause(self) -> float:
        """Seconds until orders are tried again after failures; 0 when nothing is wrong."""
        if self.backoff_until is None:
            return 0.0
        return max(0.0, (self.backoff_until - timezone.now()).total_seconds())


class Batch(models.Model):
    """One order and what became of it.

    ordered ──> delivered ──> ingested
       │            ├───────> quarantined      (bad files: nothing of it is served)
       │            └───────> overdue          (its files are gone from the inbox)
       ├──> overdue ──> ordered, attempt + 1   (re-issued to another, at most 3 attempts)
       │       └──────> failed                 (no attempt left, or nobody wants it any more)
       └──> failed                             (refused, and no other worker would do better)

    Overdue is what passed its deadline, and at once what a worker had that fell silent, was put
    in maintenance, refuses work, or says that another may do it.

    A late batch is better than none: overdue and failed ones may still become delivered, and
    a sign of life makes an overdue one ordered again.
    """

    class State(models.TextChoices):
        ORDERED = "ordered"
        OVERDUE = "overdue"
        DELIVERED = "delivered"
        INGESTED = "ingested"
        QUARANTINED = "quarantined"
        FAILED = "failed"

    MAX_ATTEMPTS = 3
    UNDER_WAY = (State.ORDERED, State.DELIVERED)
    SETTLED = (State.INGESTED, State.QUARANTINED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="batches")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="batches")
    state = models.CharField(max_length=12, choices=State, default=State.ORDERED)
    attempt = models.PositiveSmallIntegerField(default=1)
    count = models.PositiveIntegerField()
    base_seed = models.BigIntegerField()
    # {"tags": […]} where visitors wait for just these tags.
    params = models.JSONField(default=dict, blank=True)
    ordered_at = models.DateTimeField(default=timezone.now)
    deadline = models.DateTimeField()
    worker = models.CharField(max_length=63, blank=True)  # whose order it is, then who delivered
    fraction = models.FloatField(default=0)
    note = models.CharField(max_length=200, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    # Of `drawn` images, curation and ingest kept so many; both 0 until that is known.
    drawn = models.PositiveIntegerField(default=0)
    ingested_count = models.PositiveIntegerField(default=0)
    reason = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "batches"
        ordering = ["-ordered_at"]
        indexes = [
            models.Index(fields=["pool", "state"]),
            models.Index(fields=["state"]),
            models.Index(fields=["pool", "-ordered_at"], name="batch_last_of_pool"),
            models.Index(fields=["settled_at"], name="batch_settled"),
            models.Index(
                fields=["release", "-settled_at"], condition=Q(drawn__gt=0), name="batch_measured"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id} ({self.state})"

    @property
    def tags(self) -> list[str]:
        return list(self.params.get("tags", []))


class Avatar(models.Model):
    """One image. Its file lies in content-addressed storage under `digest`.

    available ──> claimed
        └───────> retired
    """

    class State(models.TextChoices):
        AVAILABLE = "available"
        CLAIMED = "claimed"
        RETIRED = "retired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    pool = models.ForeignKey(Pool, on_delete=models.PROTECT, related_name="avatars")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="avatars")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, related_name="avatars")
    state = models.CharField(max_length=10, choices=State, default=State.AVAILABLE)
    key = models.BigIntegerField(default=random_key, editable=False)
    digest = models.CharField(max_length=64, unique=True)  # SHA-256 of the stored PNG
    bytes = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    seed = models.BigIntegerField()
    score = models.FloatField()
    safety = models.FloatField()
    tags = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    claimed_by = models.CharField(max_length=100, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            # A claim reads one entry of this index, however many there are.
            models.Index(fields=["pool", "state", "key"]),
            models.Index(fields=["claimed_by", "-claimed_at"]),
            # How many were claimed lately; entries come at its end alone.
            models.Index(
                fields=["claimed_at"], condition=Q(state="claimed"), name="avatar_claims_by_time"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)

    def get_absolute_url(self) -> str:
        return f"/avatars/{self.id}/"


class AvatarTag(models.Model):
    """A tag of an *available* avatar: the index that claims with tags read. Gone once claimed."""

    avatar = models.ForeignKey(Avatar, on_delete=models.CASCADE, related_name="offered")
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="+", db_index=False)
    tag = models.CharField(max_length=60)
    key = models.BigIntegerField()  # the avatar's

    class Meta:
        indexes = [models.Index(fields=["pool", "tag", "key"])]
        constraints = [models.UniqueConstraint(fields=["avatar", "tag"], name="avatar_tag_once")]

    def __str__(self) -> str:
        return self.tag


class Look(models.Model):
    """What an avatar looks like from afar, for finding near-duplicates. Outlives the claim."""

    avatar = models.OneToOneField(
        Avatar, on_delete=models.CASCADE, primary_key=True, related_name="look"
    )
    grid = models.BinaryField()  # see `likeness.look_of`

    def __str__(self) -> str:
        return str(self.pk)


class LookKey(models.Model):
    """One of the keys under which a look is filed; those much alike mostly share one."""

    look = models.ForeignKey(Look, on_delete=models.CASCADE, related_name="keys")
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="+", db_index=False)
    value = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["pool", "value", "id"])]

    def __str__(self) -> str:
        return str(self.value)


class Ticket(models.Model):
    """A claim that waits on an empty buffer; served at ingest, first come, first served.

    waiting ──> served
       └──────> expired     (waited too long, or its owner stopped asking)
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        SERVED = "served"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="tickets")
    tags = models.JSONField(default=list, blank=True)
    client = models.CharField(max_length=100)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    avatar = models.OneToOneField(
        Avatar, on_delete=models.PROTECT, null=True, blank=True, related_name="ticket"
    )
    created_at = models.DateTimeField(default=timezone.now)
    polled_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["pool", "state", "created_at"])]

    def __str__(self) -> str:
        return f"{self.id} ({self.state})"

    def get_absolute_url(self) -> str:
        return f"/api/v1/tickets/{self.id}/"


class ClaimKey(models.Model):
    """An Idempotency-Key and the answer it stands for, kept for a day."""

    key = models.CharField(max_length=255, unique=True)
    client = models.CharField(max_length=100)
    body = models.CharField(max_length=64)  # SHA-256 of the claim's canonical form
    avatar = models.ForeignKey(Avatar, on_delete=models.CASCADE, null=True, related_name="+")
    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.key

    def fits(self, client: str, body: str) -> bool:
        return self.client == client and self.body == body
