"""Taking one avatar for good: the one service behind the API and the pages.

    from webgui.accounts.visitor import client_of, visitor_of
    from webgui.buffer.claim import claim, avatars_of
    from webgui.buffer.problems import Problem

    try:
        answer = claim("toon", ("pink hair",), client=visitor_of(request))
    except Problem as problem:        # problem.status, .code, .title, .detail, .retry_after
        ...
    answer.avatar                     # an Avatar, or None where the buffer was empty
    answer.ticket                     # then a Ticket; poll `tickets.poll(ticket.id)`
    avatars_of(visitor_of(request))   # the visitor's own, newest first

`pool=None` means the first pool. An `idempotency_key` is good for 24 hours and one client: the
same key with the same claim gives the same avatar or ticket again, with another claim it is
refused.

What holds under any concurrency: an avatar goes to one client; and since a batch's avatars meet
the waiting tickets in the transaction that brings them, no new claim overtakes a ticket.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from messaging.logs import bound
from webgui.problems import Problem
from webgui.watching import tallies

from . import at_once, tickets
from .models import KEY_SPACE, Avatar, AvatarTag, ClaimKey, Pool, Ticket, random_key
from .problems import BadIdempotencyKey, KeyReused
from .wishes import check_tags, find_pool

KEY_LIFETIME = timedelta(hours=24)
USABLE_KEY = re.compile(r"^[\x21-\x7e]{1,255}$")
# A lost race costs one more look; losing this many in a row means something else is wrong.
TRIES = 50
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Got:
    """The claim brought an avatar."""

    avatar: Avatar
    ticket: None = None


@dataclass(frozen=True)
class Waiting:
    """The claim brought a place in line."""

    ticket: Ticket
    avatar: None = None


Claim = Got | Waiting


def claim(
    pool: str | None = None,
    tags: Sequence[str] = (),
    *,
    client: str,
    idempotency_key: str | None = None,
) -> Claim:
    """One random available avatar of the pool having all `tags`, or a ticket for one."""
    try:
        answer = _claim(pool, tags, client, idempotency_key)
    except Problem as problem:
        tallies.count_later("claims_refused", code=problem.code)
        raise
    if answer.avatar is not None:
        with bound(avatar=answer.avatar.pk, batch=answer.avatar.batch_id):
            log.info("An avatar is claimed")
    else:
        with bound(ticket=answer.ticket.pk):
            log.info("A claim waits in line")
    return answer


def _claim(
    pool: str | None, tags: Sequence[str], client: str, idempotency_key: str | None
) -> Claim:
    if idempotency_key is not None and not USABLE_KEY.match(idempotency_key):
        raise BadIdempotencyKey(
            "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces; "
            "a UUID serves well.",
            field="Idempotency-Key",
        )
    body = _fingerprint(pool, tags)
    if (avatar := at_once.take(pool, tags, client, idempotency_key, body)) is not None:
        return Got(avatar)
    if idempotency_key is not None:
        return _claim_once(pool, tags, client, idempotency_key, body)
    source = find_pool(pool, with_tags=bool(tags))
    wanted = check_tags(source, tags)
    with transaction.atomic():
        avatar = take(source, wanted, client)
    return Got(avatar) if avatar is not None else _claim_in_line(source, wanted, client)


def avatars_of(client: str, limit: int = 60) -> QuerySet[Avatar]:
    """This client's avatars, newest first."""
    mine = Avatar.objects.filter(claimed_by=client, state=Avatar.State.CLAIMED)
    return mine.select_related("pool", "release").order_by("-claimed_at")[:limit]


def take(pool: Pool, tags: Sequence[str], client: str) -> Avatar | None:
    """Claim one available avatar, or None where there is none. Call it inside a transaction."""
    for _ in range(TRIES):
        avatar = _pick(pool, tags)
        if avatar is None:
            return None
        now = timezone.now()
        still_free = Avatar.objects.filter(pk=avatar.pk, state=Avatar.State.AVAILABLE)
        if still_free.update(state=Avatar.State.CLAIMED, claimed_by=client, claimed_at=now):
            if avatar.tags:
                AvatarTag.objects.filter(avatar_id=avatar.pk).delete()
            avatar.state, avatar.claimed_by, avatar.claimed_at = Avatar.State.CLAIMED, client, now
            return _with_pool(avatar, pool)
    raise RuntimeError(f"Lost {TRIES} races for one avatar of pool {pool.slug}")


def _with_pool(avatar: Avatar, pool: Pool) -> Avatar:
    """What the answer will show is at hand: no need to ask for it again."""
    avatar.pool = pool
    if avatar.release_id == pool.release_id:
        avatar.release = pool.release
    return avatar


def _pick(pool: Pool, tags: Sequence[str]) -> Avatar | None:
    """A random available avatar.

    The keys lie at random on a ring: the first one at or after a random place is the pick, found
    by an index in one step however full the buffer is. Old stock to be used up first lies in a
    lane below the ring, and is looked for only while there may be some.
    """
    start = random_key()
    offers = offers_with(pool, tags) if tags else offers_of(pool)
    parts = [offers.filter(key__gte=start), offers.filter(key__lt=start)]
    if pool.old_first:
        lane = start - KEY_SPACE
        parts = [offers.filter(key__gte=lane, key__lt=0), offers.filter(key__lt=lane), *parts]
    for part in parts:
        if (found := part.order_by("key").first()) is not None:
            return found.avatar if isinstance(found, AvatarTag) else found
    return None


def offers_of(pool: Pool) -> QuerySet[Avatar]:
    """Available avatars, passing over those another claim has in hand."""
    offers = Avatar.objects.filter(pool=pool, state=Avatar.State.AVAILABLE)
    return offers.select_for_update(skip_locked=True, of=("self",))


def offers_with(pool: Pool, tags: Sequence[str]) -> QuerySet[AvatarTag]:
    """Available avatars with these tags. The scarcest tag leads, so that the walk along its index
    is short; the others are looked up one by one.

    Only the avatar's row is locked here: `take` locks its tags' rows after it, and a second order
    would be a deadlock. Avatars in other hands are passed over, since a claim that waited for one
    might hold another that is waited for (see `_claim_in_line`).
    """
    shares = pool.release.tag_shares
    lead, *others = sorted(tags, key=lambda tag: shares.get(tag, 0.0))
    offers = AvatarTag.objects.select_related("avatar").filter(
        pool=pool, tag=lead, avatar__state=Avatar.State.AVAILABLE
    )
    for tag in others:
        same = AvatarTag.objects.filter(avatar=OuterRef("avatar"), tag=tag)
        offers = offers.filter(Exists(same))
    return offers.select_for_update(skip_locked=True, of=("avatar",))


@transaction.atomic
def _claim_in_line(pool: Pool, tags: tuple[str, ...], client: str) -> Claim:
    """After a look that found nothing. Ingest holds the pool's lock while it hands out what it
    brought: whoever finds the buffer empty under it is in time for the next batch.

    Not in the transaction of that look: it may hold rows that it passed over (PostgreSQL locks
    a row before it sees that it has changed), and who waits for the pool's lock, holding what an
    activation with that lock waits for, would wait for ever.
    """
    Pool.objects.select_for_update(no_key=True).get(pk=pool.pk)
    avatar = take(pool, tags, client)
    if avatar is None:
        return Waiting(tickets.issue(pool, tags, client))
    return Got(avatar)


def _claim_once(slug: str | None, tags: Sequence[str], client: str, key: str, body: str) -> Claim:
    """The claim and its key are written together, so neither exists without the other.

    The key is looked up before the claim is judged: what was granted once is granted again,
    though the pool or its tags may have changed since.
    """
    in_line = False
    for _ in range(TRIES):
        if (known := _recall(key, client, body)) is not None:
            return known
        pool = find_pool(slug, with_tags=bool(tags))
        wanted = check_tags(pool, tags)
        try:
            with transaction.atomic():
                # A second request with this key waits here for the first one's end.
                row = ClaimKey.objects.create(key=key, client=client, body=body)
                answer = _answer(pool, wanted, client, in_line)
                ClaimKey.objects.filter(pk=row.pk).update(
                    avatar=answer.avatar, ticket=answer.ticket
                )
                return answer
        except _NothingThere:
            in_line = True
        except IntegrityError:
            continue
    raise RuntimeError("The Idempotency-Key could neither be written nor read")


class _NothingThere(Exception):
    """The look without the pool's lock found nothing: its transaction is rolled back."""


def _answer(pool: Pool, tags: tuple[str, ...], client: str, in_line: bool) -> Claim:
    if in_line:
        return _claim_in_line(pool, tags, client)
    avatar = take(pool, tags, client)
    if avatar is None:
        raise _NothingThere
    return Got(avatar)


def _recall(key: str, client: str, body: str) -> Claim | None:
    """What this key was answered before; None for a new one."""
    # What is stale makes room: an old key, or one whose ticket came to nothing.
    stale = ClaimKey.objects.filter(key=key)
    stale.filter(created_at__lt=timezone.now() - KEY_LIFETIME).delete()
    stale.filter(client=client, body=body, ticket__state=Ticket.State.EXPIRED, avatar=None).delete()
    known = ClaimKey.objects.select_related("avatar", "ticket__avatar").filter(key=key).first()
    if known is None:
        return None
    if not known.fits(client, body):
        raise KeyReused(
            "This Idempotency-Key was used for another claim within the last 24 hours. "
            "Send a new key with a new claim.",
            field="Idempotency-Key",
        )
    if known.avatar is not None:
        return Got(known.avatar)
    if known.ticket is None:
        raise RuntimeError(f"Claim key {known.pk} stands for nothing")
    if known.ticket.avatar is not None:
        return Got(known.ticket.avatar)
    return Waiting(known.ticket)


def _fingerprint(pool: str | None, tags: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([pool, sorted(set(tags))]).encode()).hexdigest()


def forget_old_keys() -> int:
    old = ClaimKey.objects.filter(created_at__lt=timezone.now() - KEY_LIFETIME)
    return old.delete()[0]
