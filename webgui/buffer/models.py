"""Pools of avatars, the batches that fill them, and the visitors' claims on them."""

from __future__ import annotations

import secrets
import uuid

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils import timezone

from generator_worker.contract import MAX_BATCH
from webgui.registry.models import Release

KEY_SPACE = 2**62


def random_key() -> int:
    """A place on the ring from which claims pick: `key >= random_key()`, first one wins.

    Images to be handed out before all others lie in the first lane: as on the ring, but
    KEY_SPACE lower.
    """
    return secrets.randbelow(KEY_SPACE)


class OldStock(models.TextChoices):
    """What becomes of the images of a release that a pool generates with no longer: of those in
    the buffer, and of those that orders under way will still bring."""

    KEEP = "keep", "Hand them out first"
    MIX = "mix", "Hand out old and new at random"
    DISCARD = "discard", "Hand out none of them any more"


class Pool(models.Model):
    """A named public supply of avatars in one style, kept between two watermarks.

    What it generates with changes in `activation` and `canary` alone; each change is one
    transaction that `version` tells from every other.
    """

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="pools")
    # Tried beside `release` by a share of the orders, in percent. `canary_due` is what the orders
    # so far have added up to: at 100 the next one is the canary's.
    canary = models.ForeignKey(
        Release, on_delete=models.PROTECT, null=True, blank=True, related_name="canary_of"
    )
    canary_share = models.PositiveSmallIntegerField(default=10)
    canary_due = models.PositiveSmallIntegerField(default=0)
    canary_failures = models.PositiveSmallIntegerField(default=0)  # in a row
    canary_trouble = models.TextField(blank=True)
    # Of two administrators who decide from what the pool was at one version, one wins.
    version = models.PositiveIntegerField(default=0)
    # There may be images in the first lane, which claims have to look at before the ring.
    old_first = models.BooleanField(default=False)
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
                condition=Q(low_watermark__lte=F("high_watermark")),
                name="pool_low_lte_high",
                violation_error_message="The low watermark must not be above the high one.",
            ),
            models.CheckConstraint(
                condition=Q(batch_size__gte=1, batch_size__lte=MAX_BATCH), name="pool_batch_size"
            ),
            models.CheckConstraint(
                condition=Q(canary_share__gte=1, canary_share__lte=99), name="pool_canary_share"
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


class Activation(models.Model):
    """A release that a pool was given in place of another. Rolling back undoes the latest that
    stands.

    standing ──> undone
    """

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="activations")
    release = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="+")
    before = models.ForeignKey(Release, on_delete=models.CASCADE, related_name="+")
    old_stock = models.CharField(max_length=7, choices=OldStock)
    at = models.DateTimeField(default=timezone.now)
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.pool}: {self.release} after {self.before}"


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
    ENDED = (*SETTLED, State.FAILED)

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
    # When its message was last sent.
    rung_at = models.DateTimeField(default=timezone.now, db_default=Now())
    deadline = models.DateTimeField()
    worker = models.CharField(max_length=63, blank=True)  # whose order it is, then who delivered
    fraction = models.FloatField(default=0)
    note = models.CharField(max_length=200, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    # Of `drawn` images, curation and ingest kept so many; both 0 until that is known.
    drawn = models.PositiveIntegerField(default=0)
    ingested_count = models.PositiveIntegerField(default=0)
    # For an order that is under way while its pool turns to another release; else empty.
    old_stock = models.CharField(max_length=7, choices=OldStock, blank=True)
    reason = models.TextField(blank=True)
    # The web request of whoever was first in line for it; empty where nobody waited.
    request = models.CharField(max_length=64, blank=True, default="", db_default="")

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
        │  ^
        v  └────┐
      retired ──┴──> gone   (pruned, with its file)

    Retired: its release was discarded. Available again: the pool has returned to that release.
    An order of a discarded release that was under way brings its images in as retired.
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
    retired_at = models.DateTimeField(null=True, blank=True)

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
    request = models.CharField(max_length=64, blank=True, default="", db_default="")  # its id
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
