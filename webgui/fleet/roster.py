"""Who is alive, at work and how fast: what the buffer may count on."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import QuerySet, Sum
from django.utils import timezone

from generator_worker.contract import Duty, Heartbeat, State

from .hearsay import clean, clean_all
from .models import UNMEASURED_SECONDS_PER_IMAGE, Worker, silent_since

# What the columns hold; beyond it a database refuses the whole heartbeat.
LARGEST, LARGEST_BIG = 2**31 - 1, 2**63 - 1
# Kept as it came, to be read by people.
REPORTED = (
    "duty", "findings", "started", "batches", "images", "failures", "resident_bytes", "gpu",
    "gpu_use", "gpu_memory_used_bytes", "disk_free_bytes",
)  # fmt: skip
ON_ITS_WAY = timedelta(seconds=10)
"""Within this a worker that is idle has taken up what was sent to it. (One whose child process is
starting anew does not say that it is idle.)"""


def alive() -> QuerySet[Worker]:
    return Worker.objects.filter(last_seen__gte=silent_since())


def record(beat: Heartbeat) -> bool:
    """Write a heartbeat down; True where the worker was silent or unknown until now."""
    was_alive = alive().filter(name=beat.worker).exists()
    now = timezone.now()
    told = beat.wire()
    Worker.objects.update_or_create(
        name=beat.worker,
        defaults={
            "software": clean(beat.software, 100),
            "device": clean(beat.device, 200),
            "memory_bytes": min(beat.memory_bytes, LARGEST_BIG),
            "loaded": list(beat.loaded),
            "outbox": min(beat.outbox, LARGEST),
            "images_per_minute": beat.images_per_minute,
            "activity": beat.state.value,
            "speeds": dict(beat.speeds),
            "faulty": clean_all(told["faulty"]),
            "report": {name: clean_all(told[name]) for name in REPORTED},
            "clock_ahead": (beat.clock - now).total_seconds() if beat.clock else None,
            "last_seen": now,
        },
    )
    return not was_alive


def at_work() -> QuerySet[Worker]:
    """Those who take orders: alive, on duty, and not refusing work themselves."""
    return alive().filter(duty=Duty.WORKING).exclude(activity=Worker.REFUSING)


def idle() -> dict[str, datetime]:
    """Who says to be at nothing, and when that was."""
    at_nothing = alive().filter(activity__in=(State.IDLE, State.DRAINED))
    return dict(at_nothing.values_list("name", "last_seen"))


def pace(name: str, digest: str) -> float:
    """Seconds that an image of this release costs this worker."""
    worker = Worker.objects.filter(name=name).first()
    return worker.seconds_per_image(digest) if worker else seconds_per_image()


def seconds_per_image() -> float:
    """What one image costs one worker at work, on average."""
    measured = at_work().filter(images_per_minute__gt=0)
    workers = measured.count()
    per_minute = measured.aggregate(sum=Sum("images_per_minute"))["sum"] or 0.0
    return 60.0 * workers / per_minute if per_minute else UNMEASURED_SECONDS_PER_IMAGE
