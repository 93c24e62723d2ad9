"""What has happened since this server was set up, in numbers."""

from __future__ import annotations

from django.db import models


class Tally(models.Model):
    """How often something happened, or how much of it there was. It only grows."""

    name = models.CharField(max_length=60)
    # Canonical JSON: the same labels are the same text.
    labels = models.CharField(max_length=250, default="{}")
    value = models.FloatField(default=0)

    class Meta:
        verbose_name_plural = "tallies"
        constraints = [models.UniqueConstraint(fields=["name", "labels"], name="tally_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.labels}"
