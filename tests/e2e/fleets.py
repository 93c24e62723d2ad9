"""A fleet to look at: rows as heartbeats and the clock would have left them."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from django.utils import timezone

from generator_worker.contract import Heartbeat
from webgui.fleet import roster
from webgui.fleet.models import Sample, Worker

GIB = 2**30
COMMON: dict[str, Any] = {"software": "stylediffuser 0.1.0", "device": "cuda:0", "memory_bytes": 0}
GPU = COMMON | {"gpu": "NVIDIA RTX 4090", "memory_bytes": 24 * GIB}
LONG_AT_IT: dict[str, Any] = {"disk_free_bytes": 210 * GIB, "images": 48_210}
FULL = {"check": "disk", "level": "failure", "detail": "210 MiB are free and 1024 needed."}
TASKS: list[dict[str, Any]] = [
    {"worker": "lyon-1", "fraction": 0.62, "note": "drawing 81 to 88 of 140"},
    {"worker": "lyon-1", "fraction": 0},
]


def workers(digest: str) -> None:
    """One that works, one that drains, one silent, one that refuses."""
    fault = {
        "release_digest": "cd" * 32,
        "reason": "its UNet has no layer mid_block.0",
        "failures": 3,
        "since": timezone.now().isoformat(),
    }
    busy = {"gpu_use": 0.97, "gpu_memory_used_bytes": 9 * GIB, "images_per_minute": 214}
    busy |= {"state": "busy", "faulty": [fault], "loaded": [digest]}
    drained = {"images_per_minute": 96.5, "state": "drained", "outbox": 1, "loaded": [digest]}
    beats = {
        "lyon-1": GPU | LONG_AT_IT | busy,
        "lyon-2": GPU | LONG_AT_IT | drained,
        "oslo-attic": COMMON | {"device": "cpu", "images_per_minute": 31},
        "oslo-cellar": GPU | {"state": "refusing", "findings": [FULL]},
    }
    for name, told in beats.items():
        roster.record(Heartbeat.model_validate(told | {"worker": name}))
    Worker.objects.filter(name="lyon-2").update(duty="draining", duty_reason="A new driver.")
    silent = timezone.now() - timedelta(minutes=12)
    Worker.objects.filter(name="oslo-attic").update(last_seen=silent)


def history(minutes: int) -> None:
    now = timezone.now()
    Sample.objects.bulk_create(
        Sample(
            slot=-n,
            at=now - timedelta(seconds=15 * n),
            seconds=15,
            claims=max(0, round(6 + 5 * math.sin(n / 30))),
            images=0 if n % 9 else 60,
            workers=2 if n < 90 else 3,
            pools={
                "toon": _level(300 + 200 * math.sin(n / 40), 96),
                "pixel": _level(90 + 70 * math.cos(n / 55), 48),
            },
        )
        for n in range(4 * minutes)
    )


def sample(slot: int, available: int) -> Sample:
    pools = {"toon": _level(available, 96), "pixel": _level(90, 48)}
    return Sample.objects.create(slot=slot, seconds=15, claims=6, images=0, workers=3, pools=pools)


def _level(available: float, low: int) -> dict[str, int]:
    return {"available": round(available), "waiting": 0, "low": low}
