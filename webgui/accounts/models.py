"""Keys with which an administrator's programs act, and the book of what was done."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils import timezone

PREFIX = "sdt_"
HEAD = len(PREFIX) + 6  # shown, so that people can tell tokens apart
USE_NOTED_EVERY = timedelta(minutes=1)


class StaffToken(models.Model):
    """A bearer token of a member of staff. It acts for its user as long as both are in force.

    in force ──(revoked, in the admin site)──> revoked
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="staff_tokens",
        limit_choices_to={"is_staff": True},
    )
    name = models.CharField(max_length=100, blank=True, help_text="What it is used for.")
    head = models.CharField(max_length=HEAD, editable=False)
    # SHA-256: a token has 256 random bits, so there is nothing for a slow hash to slow down.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.head}… of {self.user}"

    def make(self) -> str:
        """Save this new row; the token itself, which is nowhere kept."""
        token = PREFIX + secrets.token_urlsafe(32)
        self.head, self.digest = token[:HEAD], _digest(token)
        self.save(force_insert=True)
        return token

    @classmethod
    def find(cls, token: str) -> StaffToken | None:
        """The token's row if it is in force; its use is noted."""
        in_force = cls.objects.select_related("user").filter(
            revoked_at=None, user__is_active=True, user__is_staff=True
        )
        found = in_force.filter(digest=_digest(token)).first()
        if found is not None:
            found._note_use()
        return found

    def revoke(self) -> bool:
        mine = StaffToken.objects.filter(pk=self.pk, revoked_at=None)
        return bool(mine.update(revoked_at=timezone.now()))

    def _note_use(self) -> None:
        now = timezone.now()
        stale = Q(used_at=None) | Q(used_at__lt=now - USE_NOTED_EVERY)
        StaffToken.objects.filter(stale, pk=self.pk).update(used_at=now)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class AuditEntry(models.Model):
    """One act of an administrator. Written by `audit.record`, never changed or deleted."""

    at = models.DateTimeField(default=timezone.now, editable=False)
    # Names as they were then: they say who it was when the user or the target is no more.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    actor = models.CharField(max_length=150)
    token = models.CharField(max_length=HEAD, blank=True)  # the head of the one it was done with
    act = models.CharField(max_length=60)
    target = models.CharField(max_length=255)
    label = models.CharField(max_length=255, blank=True)
    details = models.JSONField(default=dict, encoder=DjangoJSONEncoder)

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["target", "-at"], name="audit_of_target"),
            models.Index(fields=["-at", "-id"], name="audit_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.act} {self.target}"
