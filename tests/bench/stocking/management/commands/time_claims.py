"""`time_claims`: claims as they are asked for on standard input, a line of JSON each, timed.

{"tags": […], "times": 200} -> {"seconds": […], "scans": […]}: how long each claim took, and the
steps of its plans that read a whole table of those that grow with the buffer (a pool's is one
page, read faster without its index). Each claimed avatar is put back, untimed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from webgui.buffer.claim import claim
from webgui.buffer.models import Avatar, AvatarTag


class Command(BaseCommand):
    def handle(self, *_: Any, **__: Any) -> None:
        for line in sys.stdin:
            asked = json.loads(line)
            tags = tuple(asked["tags"])
            answer = {
                "seconds": [_time_one(tags) for _ in range(asked["times"])],
                "scans": _scans(tags),
            }
            print(json.dumps(answer), flush=True)


def _time_one(tags: tuple[str, ...]) -> float:
    began = time.perf_counter()
    answer = claim("toon", tags, client="address:127.0.0.1")
    took = time.perf_counter() - began
    assert answer.avatar is not None, f"no avatar with {tags}"
    _put_back(answer.avatar)
    return took


def _put_back(avatar: Avatar) -> None:
    Avatar.objects.filter(pk=avatar.pk).update(
        state=Avatar.State.AVAILABLE, claimed_by="", claimed_at=None
    )
    AvatarTag.objects.bulk_create(
        AvatarTag(avatar=avatar, pool_id=avatar.pool_id, tag=tag, key=avatar.key)
        for tag in avatar.tags
    )


def _scans(tags: tuple[str, ...]) -> list[str]:
    """What the statements of one claim read from the buffer's tables without an index."""
    asked: list[tuple[str, Any]] = []

    def note(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        asked.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        _time_one(tags)
    found = []
    for sql, params in asked:
        if sql.split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH") and "buffer_avatar" in sql:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}", params)
                plan = [line for (line,) in cursor.fetchall()]
            found += [line.strip() for line in plan if "Seq Scan on buffer_avatar" in line]
    return found
