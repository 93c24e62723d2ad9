"""The book of administrators' acts: who did what to which thing, when.

    from webgui.accounts import audit

    audit.record(audit.actor_of(request), "checkpoint.deleted", checkpoint, reason="…")
    audit.record(audit.COMMAND_LINE, "pool.activated", pool, release=release.digest)
    audit.of(pool)                    # its entries, the latest first

Record inside the transaction that does it, so that neither is there without the other.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.db.models import Model, QuerySet

from .models import AuditEntry, StaffToken

COMMAND_LINE = "command line"
# A user, a token (then its owner by that token), or in words what else acted.
Actor = AbstractBaseUser | AnonymousUser | StaffToken | str
log = logging.getLogger(__name__)


def record(actor: Actor, act: str, target: Model, **details: Any) -> AuditEntry:
    """`act` is the target's kind and a verb in the past: "pool.activated". Of `details` whatever
    JSON can hold, dates and UUIDs too."""
    token = actor if isinstance(actor, StaffToken) else None
    user = token.user if token else actor
    entry = AuditEntry.objects.create(
        user_id=user.pk if isinstance(user, AbstractBaseUser) else None,
        actor=str(user)[:150],
        token=token.head if token else "",
        act=act,
        target=name_of(target),
        label=str(target)[:255],
        details=details,
    )
    transaction.on_commit(lambda: log.info("%s: %s %s", entry.actor, act, entry.target))
    return entry


def actor_of(request: Any) -> Actor:
    """Who acts by this request, of a page or of the API."""
    token = getattr(request, "auth", None)
    return token if isinstance(token, StaffToken) else request.user


def of(target: Model) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(target=name_of(target))


def name_of(target: Model) -> str:
    """How entries name it: "pool/toon". By its natural key where it has one, since people write
    that and a deleted row's number may be given again."""
    natural_key = getattr(target, "natural_key", None)
    keys = natural_key() if natural_key else (target.pk,)
    return "/".join((target._meta.model_name or "", *map(str, keys)))
