"""Who is alive and how fast: what the buffer may count on."""

from __future__ import annotations

from django.db.models import QuerySet, Sum
from django.utils import timezone

from generator_worker.contract import Heartbeat

from .hearsay import clean
from .models import Worker, silent_since

# What an image is taken to cost while no worker has measured itself.
UNMEASURED_SECONDS_PER_IMAGE = 2.0
# What the columns hold; beyond it a database refuses the whole heartbeat.
LARGEST, LARGEST_BIG = 2**31 - 1, 2**63 - 1


def alive() -> QuerySet[Worker]:
    return Worker.objects.filter(last_seen__gte=silent_since())


def record(beat: Heartbeat) -> bool:
    """Write a heartbeat down; True where the worker was silent or unknown until now."""
    was_alive = alive().filter(name=beat.worker).exists()
    Worker.objects.update_or_create(
        name=beat.worker,
        defaults={
            "software": clean(beat.software, 100),
            "device": clean(beat.device, 200),
            "memory_bytes": min(beat.memory_bytes, LARGEST_BIG),
            "loaded": list(beat.loaded),
            "outbox": min(beat.outbox, LARGEST),
            "images_per_minute": beat.images_per_minute,
            "last_seen": timezone.now(),
        },
    )
    return not was_alive


def has_loaded(digest: str) -> bool:
    """Whether an alive worker holds this release in memory."""
    return any(digest in loaded for loaded in alive().values_list("loaded", flat=True))


def seconds_per_image() -> float:
    """What one image costs one alive worker, on average."""
    measured = alive().filter(images_per_minute__gt=0)
    workers = measured.count()
    per_minute = measured.aggregate(sum=Sum("images_per_minute"))["sum"] or 0.0
    return 60.0 * workers / per_minute if per_minute else UNMEASURED_SECONDS_PER_IMAGE
