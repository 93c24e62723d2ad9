"""What an operator should look at: raised once, cleared once, told outside by `notices`.

    check()     # at each tick, after a sample

A condition is a kind, a subject and words. It is raised when it is seen first, and cleared when
it has not been seen for a minute, so that one that comes and goes makes no storm.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from generator_worker.contract import Duty
from webgui.buffer.models import Batch, Pool
from webgui.watching import tallies

from . import notices, roster
from .hearsay import clean
from .models import Alarm, Sample, Worker
from .samples import lasted

Kind = Alarm.Kind
CALM = timedelta(minutes=1)
NO_WORKER_SECONDS = 60
SILENT = timedelta(seconds=60)
FORGOTTEN = timedelta(days=7)
"""A worker silent for longer is no news; `manage.py revoke_worker` takes it off the page."""
QUARANTINE = timedelta(hours=1)
CLOCK_SECONDS = 60
"""A heartbeat may lie in the queue for half a minute before it is read, and looks late then."""
KEPT = timedelta(days=90)
MIB = 2**20
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Condition:
    kind: Alarm.Kind
    subject: str
    detail: str


def check() -> int:
    """Raise what is wrong now, clear what is no longer; how many changed."""
    now = timezone.now()
    changed = sum(_note(condition) for condition in conditions())
    for alarm in Alarm.objects.filter(cleared_at=None, seen_at__lt=now - CALM):
        changed += _clear(alarm)
    Alarm.objects.filter(cleared_at__lt=now - KEPT).delete()
    return changed


def raised() -> list[Alarm]:
    return list(Alarm.objects.filter(cleared_at=None))


def _note(condition: Condition) -> bool:
    """True where it is news."""
    now = timezone.now()
    detail = clean(condition.detail, 500)
    known = Alarm.objects.filter(
        kind=condition.kind, subject=condition.subject, cleared_at=None
    ).update(seen_at=now, detail=detail)
    if known:
        return False
    try:
        with transaction.atomic():
            alarm = Alarm.objects.create(
                kind=condition.kind, subject=condition.subject, detail=detail
            )
            notices.announce(alarm)
            tallies.count("alarms_raised", kind=alarm.kind)
    except IntegrityError:  # another clock was quicker
        return False
    log.error("Alarm %s: %s", alarm, alarm.detail)
    return True


def _clear(alarm: Alarm) -> bool:
    with transaction.atomic():
        changed = Alarm.objects.filter(pk=alarm.pk, cleared_at=None, seen_at=alarm.seen_at).update(
            cleared_at=timezone.now()
        )
        if changed:
            notices.announce(alarm, cleared=True)
            log.warning("Alarm %s is over", alarm)
    return bool(changed)


def conditions() -> Iterator[Condition]:
    """What is wrong at this moment."""
    yield from _buffers()
    yield from _workers()
    yield from _quarantine()
    yield from _disk()


def _buffers() -> Iterator[Condition]:
    if not Pool.objects.exists():
        return  # a server without a pool misses nothing yet
    if lasted(NO_WORKER_SECONDS, lambda sample: sample.workers == 0):
        yield Condition(Kind.NO_WORKER, "", "No worker is alive, on duty and able to work.")
    minutes = settings.ALARM_BUFFER_LOW_MINUTES
    last = Sample.objects.order_by("-at").first()
    for slug in last.pools if last else ():
        if lasted(60 * minutes, partial(_is_low, slug)):
            available = last.pools[slug]["available"] if last else 0
            words = f"{available} avatars; below the low watermark for {minutes} minutes."
            yield Condition(Kind.BUFFER_LOW, slug, words)


def _is_low(slug: str, sample: Sample) -> bool:
    pool = sample.pools.get(slug)
    return pool is not None and pool["available"] < pool["low"]


def _workers() -> Iterator[Condition]:
    now = timezone.now()
    missed = Worker.objects.filter(
        duty=Duty.WORKING, last_seen__lt=now - SILENT, last_seen__gt=now - FORGOTTEN
    )
    for worker in missed:
        words = f"Not heard since {worker.last_seen:%F %T} UTC."
        yield Condition(Kind.WORKER_SILENT, worker.name, words)
    for worker in roster.alive():
        if worker.state == Worker.REFUSING:
            words = "; ".join(worker.failings) or "It does not say why."
            yield Condition(Kind.WORKER_REFUSING, worker.name, words)
        if worker.duty == Duty.MAINTENANCE and worker.faults >= settings.WORKER_FAULTS:
            yield Condition(Kind.WORKER_FAULTS, worker.name, worker.duty_reason)
        if worker.clock_ahead is not None and abs(worker.clock_ahead) > CLOCK_SECONDS:
            way = "ahead of" if worker.clock_ahead > 0 else "behind"
            words = f"Its clock is {abs(worker.clock_ahead):.0f} s {way} this server's."
            yield Condition(Kind.CLOCK_OFF, worker.name, words)


def _quarantine() -> Iterator[Condition]:
    since = timezone.now() - QUARANTINE
    lately = Batch.objects.filter(state=Batch.State.QUARANTINED, settled_at__gte=since)
    last = lately.order_by("-settled_at").first()
    if last is not None:
        words = f"{lately.count()} in the last hour. The latest, of {last.worker or '?'}: "
        yield Condition(Kind.QUARANTINE, "", words + last.reason)
    elif strays := _strays(since.timestamp()):
        words = f"{strays} in the last hour, of no batch that was ordered here."
        yield Condition(Kind.QUARANTINE, "", words)


def _strays(since: float) -> int:
    """Deliveries in quarantine that no row tells of."""
    places = settings.QUARANTINE_ROOT.glob("*")
    return sum(place.lstat().st_mtime >= since for place in places)


def _disk() -> Iterator[Condition]:
    seen: set[int] = set()
    for place in (settings.HOME, settings.MEDIA_ROOT, settings.SFTP_ROOT):
        folder = _existing(place)
        device = folder.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(folder).free // MIB
        if free < settings.ALARM_DISK_MIB:
            yield Condition(Kind.DISK_LOW, str(place)[-100:], f"{free} MiB are free in {place}.")


def _existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.parents) if folder.exists())
