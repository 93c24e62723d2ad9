"""Which workers may take orders and deliver."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

# Above what a system gives to users of its own. The SFTP server's user of row 1 is 20001.
FIRST_UID = 20_000


class Enrolment(models.Model):
    """One worker's admission. The broker's account and the SFTP server's key are made from this
    row, and can be made anew from it: it holds no secret, only what checks one.

    admitted <──> revoked     (admitted again with other secrets)
    """

    name = models.CharField(max_length=63, unique=True)
    public_key = models.CharField(max_length=200)  # ssh-ed25519 AAAA…
    password = models.CharField(max_length=64)  # SHA-256 of the broker's password, which is random
    admitted_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def natural_key(self) -> tuple[str]:
        return (self.name,)

    @property
    def uid(self) -> int:
        """Its user at an OpenSSH server; never given to another worker."""
        return FIRST_UID + self.pk
