"""Filling a pool with rows, as many as are asked for, at the database's own speed.

Each avatar has one tag of every group, drawn with the shipped release's shares, as its own
avatars have. PostgreSQL only.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.utils import timezone

from webgui.buffer.models import Avatar, AvatarTag, Batch, Pool
from webgui.buffer.pictures import stored
from webgui.registry.models import Release

LOOKS = 50_000
"""Combinations of tags; avatars beyond that repeat them."""
AVATARS = """
INSERT INTO buffer_avatar (id, pool_id, release_id, batch_id, state, key, digest, bytes, width,
    height, seed, score, safety, tags, created_at, claimed_by)
SELECT gen_random_uuid(), %(pool)s, %(release)s, %(batch)s, 'available',
    floor(random() * 4611686018427387904)::bigint,
    encode(sha256((i::text || %(pool)s::text)::bytea), 'hex'), 200000, 512, 512, i, 0.9, 0.01,
    look.tags, now(), ''
FROM generate_series(1, %(count)s) AS i JOIN look ON look.id = i %% (SELECT count(*) FROM look)
"""
TAGS = """
INSERT INTO buffer_avatartag (avatar_id, pool_id, tag, key)
SELECT a.id, a.pool_id, tag, a.key FROM buffer_avatar a, jsonb_array_elements_text(a.tags) AS tag
WHERE a.batch_id = %(batch)s
"""


def stock(pool: Pool, count: int) -> None:
    """So many more available avatars, without files."""
    batch = Batch.objects.create(
        pool=pool,
        release=pool.release,
        state=Batch.State.INGESTED,
        count=count,
        base_seed=1,
        deadline=timezone.now() + timedelta(hours=1),
    )
    names = {"pool": pool.pk, "release": pool.release_id, "batch": batch.pk, "count": count}
    with connection.cursor() as cursor, _bare(AvatarTag._meta.db_table):
        cursor.execute("CREATE TEMPORARY TABLE look (id int, tags jsonb)")
        cursor.executemany(
            "INSERT INTO look VALUES (%s, %s::jsonb)",
            enumerate(map(json.dumps, _looks(pool.release, min(count, LOOKS)))),
        )
        cursor.execute(AVATARS, names)
        cursor.execute(TAGS, names)
        cursor.execute("DROP TABLE look")
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _looks(release: Release, count: int) -> list[list[str]]:
    chance = random.Random(0)
    groups = [(list(tags), list(tags.values())) for tags in release.tag_groups.values()]
    return [[chance.choices(tags, shares)[0] for tags, shares in groups] for _ in range(count)]


@contextmanager
def _bare(table: str) -> Iterator[None]:
    """Without foreign keys' checks and indexes, which are built afterwards in one go."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND contype = 'u'",
            [table],
        )
        constraints = cursor.fetchall()
        for name, _ in constraints:
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s "
            "AND indexname NOT LIKE '%%_pkey'",
            [table],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        yield
        cursor.execute("SET maintenance_work_mem = '512MB'")
        for _, definition in indexes:
            cursor.execute(definition)
        for name, definition in constraints:
            cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        cursor.execute("SET session_replication_role = origin")


def hang_pictures(pool: Pool, samples: list[Path]) -> None:
    """Give every avatar of the pool a stored file: one of the samples, by a hard link."""
    settings.MEDIA_ROOT.mkdir(parents=True, exist_ok=True)
    sizes = [path.stat().st_size for path in samples]
    for number, (key, digest) in enumerate(
        Avatar.objects.filter(pool=pool).values_list("pk", "digest").iterator()
    ):
        sample = number % len(samples)
        place = stored(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(samples[sample], place)
        Avatar.objects.filter(pk=key).update(bytes=sizes[sample])
