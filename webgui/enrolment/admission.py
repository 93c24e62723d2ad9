"""Admitting a worker and turning it away: the row first, then the two doors.

The row is the truth. Should a door not move, `sync` moves it as the rows say, any number of times.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field

import asyncssh
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from webgui.accounts import audit

from . import accounts, broker
from .models import Enrolment

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
OTHERS_QUEUES = (".live", ".cancel")


class Refusal(Exception):
    """It cannot be done; the message says why and what to do. Nothing was changed."""


@dataclass(frozen=True)
class Secrets:
    """What a worker needs to know, and what is not kept here."""

    password: str = field(repr=False)
    private_key: str = field(repr=False)  # empty where the worker made its own


def admit(name: str, public_key: str, actor: audit.Actor, anew: bool = False) -> Secrets:
    """Enrol a worker with new secrets; `anew` replaces those of one that is enrolled."""
    if not NAME.fullmatch(name) or name.endswith(OTHERS_QUEUES):
        # worker.NAME.live and worker.NAME.cancel are queues of a worker called NAME.
        raise Refusal(
            f"{name!r}: use 1 to 63 letters, digits, dots, dashes or underscores, beginning with a "
            "letter or digit and not ending with .live or .cancel."
        )
    password, private_key = secrets.token_urlsafe(32), ""
    if public_key:
        public_key = _checked(public_key)
    else:
        private_key, public_key = _new_pair(name)
    digest = hashlib.sha256(password.encode()).hexdigest()
    with transaction.atomic():
        row = _write(name, public_key, digest, anew)
        audit.record(actor, "worker.admitted", row, public_key=public_key, anew=anew)
    broker.admit(name, digest, anew=anew)
    accounts.admit(row)
    return Secrets(password, private_key)


def revoke(name: str, actor: audit.Actor) -> None:
    """Close both doors to a worker, also to the connections it has."""
    with transaction.atomic():
        row = Enrolment.objects.filter(name=name).first()
        if row is None:
            raise Refusal(f"There is no worker {name!r}. Enrolled: {_enrolled()}.")
        if _standing(name).update(revoked_at=timezone.now()):
            audit.record(actor, "worker.revoked", row)
    # Also of one that was revoked before: a door may have been stuck then.
    accounts.expel(name)
    broker.expel(name)


def sync() -> tuple[list[str], list[str]]:
    """Set both doors as the rows say; the workers admitted, and the accounts that were closed."""
    standing = list(Enrolment.objects.filter(revoked_at=None))
    known = {broker.worker_account(row.name) for row in standing}
    strays = sorted((broker.accounts() | accounts.present()) - known)
    for account in strays:
        name = account.removeprefix(broker.worker_account(""))
        accounts.expel(name)
        broker.expel(name)
    for row in standing:
        broker.admit(row.name, row.password)
        accounts.admit(row)
    return [row.name for row in standing], strays


def _standing(name: str) -> QuerySet[Enrolment]:
    return Enrolment.objects.filter(name=name, revoked_at=None)


def _write(name: str, public_key: str, digest: str, anew: bool) -> Enrolment:
    now = {"public_key": public_key, "password": digest, "admitted_at": timezone.now()}
    row, made = Enrolment.objects.get_or_create(name=name, defaults=now)
    if made:
        return row
    free = Enrolment.objects.filter(pk=row.pk)
    if not anew:
        free = free.exclude(revoked_at=None)
    if not free.update(**now, revoked_at=None):
        raise Refusal(
            f"{name} is enrolled. Give it new secrets with --anew, or revoke it: manage.py "
            f"revoke_worker {name}"
        )
    row.refresh_from_db()
    return row


def _enrolled() -> str:
    names = Enrolment.objects.filter(revoked_at=None).values_list("name", flat=True)
    return ", ".join(names) or "none"


def _checked(line: str) -> str:
    """The key without options or comment, which would become part of our line."""
    words = line.split()[:2]
    try:
        if words[0] != "ssh-ed25519":
            raise ValueError(line)
        asyncssh.import_public_key(" ".join(words))
    except (ValueError, IndexError, asyncssh.KeyImportError) as error:
        raise Refusal(
            f"{line[:60]!r} is no public key line of the kind `ssh-ed25519 AAAA…`."
        ) from error
    return " ".join(words)


def _new_pair(name: str) -> tuple[str, str]:
    key = asyncssh.generate_private_key("ssh-ed25519", comment=broker.worker_account(name))
    public = key.export_public_key().decode().split()[:2]
    return key.export_private_key().decode(), " ".join(public)
