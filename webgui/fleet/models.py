"""The generator workers seen by this server, how things stood, and what is wrong."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from generator_worker.contract import Duty, State

# What an image is taken to cost while no worker has measured itself.
UNMEASURED_SECONDS_PER_IMAGE = 2.0


class Worker(models.Model):
    """A GPU host's process: what its last heartbeat told, and what is wanted of it.

    duty, set by administrators:

        working <──> draining       (finishes what it has, gets nothing new)
           │  ^          │
           v  │          v
        maintenance <────┘          (gets nothing, what it has goes to others; set by the server
                                     too, after too many faults in a row)

    state, derived: silent (30 s without a heartbeat, by this server's clock), else its duty, or
    refusing (it works, but says itself that it cannot).
    """

    SILENT, REFUSING = "silent", State.REFUSING.value
    DUTIES: ClassVar = [(duty.value, duty.value) for duty in Duty]
    ACTIVITIES: ClassVar = [(state.value, state.value) for state in State]

    name = models.CharField(max_length=63, unique=True)
    software = models.CharField(max_length=100, blank=True)
    device = models.CharField(max_length=200, blank=True)
    memory_bytes = models.BigIntegerField(default=0)
    loaded = models.JSONField(default=list)  # release digests held in memory
    outbox = models.PositiveIntegerField(default=0)  # batches it has not got rid of
    images_per_minute = models.FloatField(default=0)
    # What it says it is at; empty for one that does not say.
    activity = models.CharField(max_length=20, choices=ACTIVITIES, blank=True)
    speeds = models.JSONField(default=dict)  # release digest: images drawn a second
    # [{"release_digest", "reason", "failures", "since"}]: what it will not draw any more.
    faulty = models.JSONField(default=list)
    # The rest of its last heartbeat, for people to read.
    report = models.JSONField(default=dict)
    # Seconds its clock was ahead of this server's when the heartbeat was read: less the time that
    # one travelled.
    clock_ahead = models.FloatField(null=True, blank=True)
    duty = models.CharField(max_length=12, choices=DUTIES, default=Duty.WORKING)
    duty_reason = models.CharField(max_length=500, blank=True)
    # Orders it failed since the last one it delivered.
    faults = models.PositiveIntegerField(default=0)
    last_fault = models.CharField(max_length=500, blank=True)
    last_fault_at = models.DateTimeField(null=True, blank=True)
    first_seen = models.DateTimeField(default=timezone.now)
    last_seen = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        return (self.name,)

    @property
    def alive(self) -> bool:
        return self.last_seen >= silent_since()

    @property
    def state(self) -> str:
        if not self.alive:
            return self.SILENT
        if self.duty == Duty.WORKING and self.activity == self.REFUSING:
            return self.REFUSING
        return self.duty

    @property
    def failings(self) -> list[str]:
        """Why it refuses work, in its own words."""
        return self._findings("failure")

    @property
    def warnings(self) -> list[str]:
        return self._findings("warning")

    def _findings(self, level: str) -> list[str]:
        return [
            f"{found['check']}: {found['detail']} {found.get('advice', '')}".strip()
            for found in self.report.get("findings", [])
            if found["level"] == level
        ]

    def is_faulty(self, digest: str) -> bool:
        """Whether it refuses orders for this release."""
        return any(entry.get("release_digest") == digest for entry in self.faulty)

    def has_measured(self, digest: str) -> bool:
        return self.speeds.get(digest, 0) > 0

    def seconds_per_image(self, digest: str) -> float:
        """What drawing one image of this release costs it; a guess until it has measured that."""
        if self.has_measured(digest):
            return 1 / self.speeds[digest]
        if self.images_per_minute > 0:
            return 60 / self.images_per_minute
        return UNMEASURED_SECONDS_PER_IMAGE


def silent_since() -> datetime:
    """Whoever was last heard before this moment counts as silent."""
    return timezone.now() - timedelta(seconds=settings.WORKER_SILENCE_SECONDS)


class Sample(models.Model):
    """How the service stood at one tick of the clock, for the charts and for what lasts too long.

    One a slot of `samples.EVERY_SECONDS`, whoever's clock ticks.
    """

    slot = models.BigIntegerField(unique=True)
    at = models.DateTimeField(default=timezone.now, db_index=True)
    seconds = models.FloatField()  # since the one before
    claims = models.PositiveIntegerField()  # in these seconds
    images = models.PositiveIntegerField()  # taken in, in these seconds
    workers = models.PositiveIntegerField()  # at work
    # {slug: {"available", "waiting", "low"}}; low is 0 where nothing is to be ordered.
    pools = models.JSONField(default=dict)

    class Meta:
        ordering = ["at"]

    def __str__(self) -> str:
        return f"{self.at:%F %T}"


class Alarm(models.Model):
    """Something an operator should look at; `docs/operating.md` says what to do.

    raised ──(not so for a minute)──> cleared
    """

    class Kind(models.TextChoices):
        BUFFER_LOW = "buffer-low", "Buffer low"
        NO_WORKER = "no-worker", "No worker"
        WORKER_SILENT = "worker-silent", "Worker silent"
        WORKER_REFUSING = "worker-refusing", "Worker refusing work"
        WORKER_FAULTS = "worker-faults", "Worker taken off duty"
        QUARANTINE = "quarantine", "Deliveries in quarantine"
        DISK_LOW = "disk-low", "Disk low"
        CLOCK_OFF = "clock-off", "Clock off"

    kind = models.CharField(max_length=20, choices=Kind)
    subject = models.CharField(max_length=100, blank=True)  # a pool's slug, a worker's name
    detail = models.CharField(max_length=500)
    raised_at = models.DateTimeField(default=timezone.now, db_index=True)
    seen_at = models.DateTimeField(default=timezone.now)  # it was so the last time it was looked at
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-raised_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=Q(cleared_at=None), name="alarm_raised_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}".strip()


class Notice(models.Model):
    """Word of an alarm to one place outside.

    due ──> sent
     └────> given up    (after `notices.MAX_TRIES`)
    """

    class Channel(models.TextChoices):
        EMAIL = "email"
        WEBHOOK = "webhook"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    alarm = models.ForeignKey(Alarm, on_delete=models.CASCADE, related_name="notices")
    cleared = models.BooleanField(default=False)  # what it tells: raised, or cleared
    channel = models.CharField(max_length=7, choices=Channel)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(default=timezone.now, null=True)  # None: sent or given up
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["next_try_at"], condition=Q(next_try_at__isnull=False), name="notice_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.alarm} by {self.channel}"
