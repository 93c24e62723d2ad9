"""Waiting in line: tickets for claims that found the buffer empty.

`poll(id)` is how their owners ask; asking also keeps the ticket alive.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from messaging.logs import bound
from webgui.config.logs import request_id
from webgui.fleet import dispatch
from webgui.registry.models import Release
from webgui.watching import tallies

from .models import Pool, Ticket
from .problems import (
    LineFull,
    NoWorkerAlive,
    PoolInTrouble,
    PoolPaused,
    PoolRetired,
    TooManyTickets,
)

if TYPE_CHECKING:
    from .models import Avatar

RETRY_WITHOUT_WORKER = 30  # seconds
POLL_NOTED_EVERY = timedelta(seconds=3)
REMEMBERED = timedelta(days=7)
log = logging.getLogger(__name__)


def waiting(pool: Pool) -> QuerySet[Ticket]:
    """Tickets still worth serving, the longest waiting first."""
    return _still_waiting().filter(pool=pool)


def _still_waiting() -> QuerySet[Ticket]:
    return Ticket.objects.filter(state=Ticket.State.WAITING).exclude(_given_up())


def issue(pool: Pool, tags: Sequence[str], client: str) -> Ticket:
    """A new ticket at the end of the line, unless waiting would be in vain."""
    _refuse_vain_waiting(pool, tags)
    _refuse_too_many(client)
    now = timezone.now()
    tallies.count("tickets", pool=pool.slug)
    return Ticket.objects.create(
        pool=pool,
        tags=list(tags),
        client=client,
        request=request_id(),
        created_at=now,
        polled_at=now,
        expires_at=now + timedelta(seconds=settings.TICKET_SECONDS),
    )


def _refuse_vain_waiting(pool: Pool, tags: Sequence[str]) -> None:
    # Where tags are asked for, others may well be there.
    none_left = f"No avatar of {pool.name} {'with these tags ' if tags else ''}is left"
    if pool.paused:
        raise PoolPaused(
            f"{none_left} and its making is paused. Try again later.",
            retry_after=300,
        )
    if pool.release.state == Release.State.RETIRED:
        raise PoolRetired(f"{none_left} and no more are made. Ask for another pool.")
    if not dispatch.able(pool.release.digest):
        raise NoWorkerAlive(
            f"{none_left} and no worker is there to make more. Try again in a little while.",
            retry_after=RETRY_WITHOUT_WORKER,
        )
    if pool.pause > 0:
        raise PoolInTrouble(
            f"{none_left} and the last attempt to make more failed. It will be tried again.",
            retry_after=math.ceil(pool.pause),
        )
    if waiting(pool).count() >= settings.TICKETS_PER_POOL:
        raise LineFull(
            f"{settings.TICKETS_PER_POOL} others are waiting already. Try again in a minute.",
            retry_after=60,
        )


def _refuse_too_many(client: str) -> None:
    if _still_waiting().filter(client=client).count() >= settings.TICKETS_PER_CLIENT:
        raise TooManyTickets(
            f"You are in line {settings.TICKETS_PER_CLIENT} times already. "
            "Ask again once one of these tickets is served.",
            retry_after=60,
        )


def poll(ticket_id: UUID) -> Ticket | None:
    """The ticket as it stands; being asked for keeps a waiting one from expiring."""
    mine = Ticket.objects.filter(pk=ticket_id).select_related(
        "pool__release", "avatar__pool", "avatar__release"
    )
    ticket = mine.first()
    if ticket is None or ticket.state != Ticket.State.WAITING:
        return ticket
    if mine.filter(_given_up()).exists():
        expire_overdue(Ticket.objects.filter(pk=ticket_id))
        return mine.first()
    now = timezone.now()
    # Scripts ask every second; one write in a while says the same.
    if now - ticket.polled_at > POLL_NOTED_EVERY:
        Ticket.objects.filter(pk=ticket_id).update(polled_at=now)
    return ticket


def serve(pool: Pool) -> int:
    """Hand available avatars to the waiting, in their order; returns how many got one.

    Call it inside the transaction that made avatars available, with the pool's row locked.
    """
    from .claim import take

    waits: list[float] = []
    hopeless: set[tuple[str, ...]] = set()  # what is not to be had now, however many ask for it
    for ticket in waiting(pool).select_for_update(of=("self",)).iterator(chunk_size=100):
        tags = tuple(ticket.tags)
        if tags in hopeless:
            continue
        avatar = take(pool, tags, ticket.client)
        if avatar is None:
            hopeless.add(tags)
            if not tags:
                break
            continue
        waits.append(_settle(ticket, avatar))
    tallies.add(
        ("tickets_settled", {"pool": pool.slug, "outcome": "served"}, len(waits)),
        *tallies.seen("ticket_wait_seconds", waits, pool=pool.slug),
    )
    return len(waits)


def _settle(ticket: Ticket, avatar: Avatar) -> float:
    """Returns how long it waited."""
    now = timezone.now()
    changed = Ticket.objects.filter(pk=ticket.pk, state=Ticket.State.WAITING).update(
        state=Ticket.State.SERVED, avatar=avatar, settled_at=now
    )
    if not changed:
        raise RuntimeError(f"Ticket {ticket.pk} changed under its lock")
    waited = (now - ticket.created_at).total_seconds()
    transaction.on_commit(partial(_tell_served, ticket, avatar, waited))
    return waited


def _tell_served(ticket: Ticket, avatar: Avatar, waited: float) -> None:
    with bound(request=ticket.request, batch=avatar.batch_id, avatar=avatar.pk, ticket=ticket.pk):
        log.info("The ticket is served after %.1f s", waited)


def serve_everywhere() -> int:
    """Serve whoever waits although there is stock (left by an edit in the admin site, say)."""
    served = 0
    waited_for = Ticket.objects.filter(state=Ticket.State.WAITING).values("pool")
    for pool in Pool.objects.select_related("release").filter(pk__in=waited_for):
        with transaction.atomic():
            Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
            served += serve(pool)
    return served


def expire_overdue(tickets: QuerySet[Ticket] | None = None) -> int:
    """Give up tickets that waited too long or whose owner stopped asking."""
    now = timezone.now()
    some = Ticket.objects.all() if tickets is None else tickets
    overdue = some.filter(_given_up(now), state=Ticket.State.WAITING)
    expired = 0
    for ticket_id, request, slug in overdue.values_list("pk", "request", "pool__slug"):
        if overdue.filter(pk=ticket_id).update(state=Ticket.State.EXPIRED, settled_at=now):
            expired += 1
            tallies.count("tickets_settled", pool=slug, outcome="expired")
            with bound(request=request, ticket=ticket_id):
                log.info("The ticket has expired")
    return expired


def forget_old() -> int:
    """Tickets settled long ago; their avatars stay."""
    old = Ticket.objects.filter(settled_at__lt=timezone.now() - REMEMBERED)
    return old.exclude(state=Ticket.State.WAITING).delete()[0]


def _given_up(now: datetime | None = None) -> Q:
    now = now or timezone.now()
    silent = now - timedelta(seconds=settings.TICKET_SILENCE_SECONDS)
    return Q(expires_at__lte=now) | Q(polled_at__lt=silent)
