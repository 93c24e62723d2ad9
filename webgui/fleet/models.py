"""The generator workers seen by this server."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class Worker(models.Model):
    """A GPU host's process, as its last heartbeat told.

    silent <──(30 s without a heartbeat; by this server's clock)── alive
    """

    name = models.CharField(max_length=63, unique=True)
    software = models.CharField(max_length=100, blank=True)
    device = models.CharField(max_length=200, blank=True)
    memory_bytes = models.BigIntegerField(default=0)
    loaded = models.JSONField(default=list)  # release digests held in memory
    outbox = models.PositiveIntegerField(default=0)  # batches it has not got rid of
    images_per_minute = models.FloatField(default=0)
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


def silent_since() -> datetime:
    """Whoever was last heard before this moment counts as silent."""
    return timezone.now() - timedelta(seconds=settings.WORKER_SILENCE_SECONDS)
