"""Claims that find an avatar at once, on PostgreSQL: one statement, which is its own transaction.

Most of a claim's time went on ways to the database and on waiting for its disk. Here the avatars
are picked, locked and changed, their tags taken out of the offers and the Idempotency-Keys written
down in one go, for all claims of a process that come at the same moment.

What is known of the pool may be two seconds old, so the statement gives nothing where the pool has
turned meanwhile. Whoever gets nothing here is no worse off than at the beginning: the slow way
(`claim`) judges anew, waits in line, and recalls what a known key stands for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from webgui.problems import Problem
from webgui.together import Together

from .models import Avatar, Pool, random_key
from .wishes import check_tags, pool_lately

MOST = 32  # claims in a statement
COLUMNS = [field.attname for field in Avatar._meta.concrete_fields]
TAGS = COLUMNS.index("tags")

# Keys lie at random, so the next ones on the ring are as random as the first.
ANY = """
    SELECT avatar.id FROM buffer_avatar AS avatar
    WHERE avatar.pool_id = %(pool)s AND avatar.state = 'available' AND avatar.key >= %(start)s
        AND {as_known}
    ORDER BY avatar.key LIMIT {many} FOR UPDATE OF avatar SKIP LOCKED
"""
# The scarcest tag leads, so that the walk along its index is short.
WITH_TAGS = """
    SELECT avatar.id FROM buffer_avatartag AS lead JOIN buffer_avatar AS avatar
        ON avatar.id = lead.avatar_id AND avatar.state = 'available'
    WHERE lead.pool_id = %(pool)s AND lead.tag = %(lead)s AND lead.key >= %(start)s
        AND {as_known} AND NOT EXISTS (
            SELECT FROM unnest(%(others)s::text[]) AS other (tag) WHERE NOT EXISTS (
                SELECT FROM buffer_avatartag AS too
                WHERE too.avatar_id = lead.avatar_id AND too.tag = other.tag
            )
        )
    ORDER BY lead.key LIMIT {many} FOR UPDATE OF avatar SKIP LOCKED
"""
AS_KNOWN = """EXISTS (
            SELECT FROM buffer_pool
            WHERE id = %(pool)s AND NOT old_first AND release_id = %(release)s
        )"""
TAKE = """
WITH picked AS MATERIALIZED ({picked}),
placed AS (SELECT id, row_number() OVER () AS place FROM picked),
asked AS (
    SELECT client, key, body, nth, row_number() OVER () AS place
    FROM unnest(%(clients)s::text[], %(keys)s::text[], %(bodies)s::text[])
        WITH ORDINALITY AS asked (client, key, body, nth)
    WHERE key IS NULL
        OR NOT EXISTS (SELECT FROM buffer_claimkey AS known WHERE known.key = asked.key)
),
taken AS (
    UPDATE buffer_avatar AS avatar
    SET state = 'claimed', claimed_by = asked.client, claimed_at = %(now)s
    FROM placed JOIN asked USING (place)
    WHERE avatar.id = placed.id AND avatar.state = 'available'
    RETURNING asked.nth, asked.key AS claim_key, asked.client, asked.body, avatar.*
),
gone AS (DELETE FROM buffer_avatartag USING taken WHERE avatar_id = taken.id),
noted AS (
    INSERT INTO buffer_claimkey (key, client, body, avatar_id, created_at)
    SELECT claim_key, client, body, id, %(now)s FROM taken WHERE claim_key IS NOT NULL
)
SELECT nth, {columns} FROM taken
"""


@dataclass(frozen=True)
class Wish:
    pool: Pool
    tags: tuple[str, ...]
    client: str
    key: str | None
    body: str


def take(
    slug: str | None, tags: Sequence[str], client: str, key: str | None, body: str
) -> Avatar | None:
    """A claimed avatar, written down together with the key; None says nothing about the buffer."""
    if connection.vendor != "postgresql":
        return None
    pool = pool_lately(slug)
    try:
        wish = Wish(pool, check_tags(pool, tags), client, key, body)
    except Problem:
        return None
    if connection.in_atomic_block:  # others would share its fate
        with transaction.atomic():
            return _serve([wish])[0]
    return _together.ask(wish)


def _serve(wishes: Sequence[Wish]) -> list[Avatar | None]:
    """Those who wish for the same share a statement."""
    alike: defaultdict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
    for place, wish in enumerate(wishes):
        alike[wish.pool.pk, wish.tags].append(place)
    answers: list[Avatar | None] = [None] * len(wishes)
    for places in alike.values():
        found = _take([wishes[place] for place in places])
        for place, avatar in zip(places, found, strict=True):
            answers[place] = avatar
    return answers


def _take(wishes: Sequence[Wish]) -> list[Avatar | None]:
    answers: list[Avatar | None] = [None] * len(wishes)
    pool = wishes[0].pool
    try:
        with connection.cursor() as cursor:
            cursor.execute(*_statement(wishes))
            for nth, *values in cursor.fetchall():
                answers[nth - 1] = _avatar(values, pool)
    except IntegrityError:  # one of the keys was written by somebody else just now
        return [None] * len(wishes)
    return answers


def _statement(wishes: Sequence[Wish]) -> tuple[str, dict[str, Any]]:
    pool, tags = wishes[0].pool, wishes[0].tags
    values: dict[str, Any] = {
        "pool": pool.pk,
        "release": pool.release_id,
        "start": random_key(),
        "now": timezone.now(),
        "clients": [wish.client for wish in wishes],
        "keys": [wish.key for wish in wishes],
        "bodies": [wish.body for wish in wishes],
    }
    if tags:
        shares = pool.release.tag_shares
        values["lead"], *values["others"] = sorted(tags, key=lambda tag: shares.get(tag, 0.0))
    picked = (WITH_TAGS if tags else ANY).format(as_known=AS_KNOWN, many=len(wishes))
    return TAKE.format(picked=picked, columns=", ".join(COLUMNS)), values


def _avatar(values: list[Any], pool: Pool) -> Avatar:
    """What the answer will show is at hand: no need to ask for it again."""
    values[TAGS] = json.loads(values[TAGS])
    avatar = Avatar.from_db(connection.alias, COLUMNS, values)
    avatar.pool = pool
    if avatar.release_id == pool.release_id:
        avatar.release = pool.release
    return avatar


_together: Together[Wish, Avatar | None] = Together(_serve, MOST)
