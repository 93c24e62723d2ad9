"""Sets the scene behind a running server, from a process of its own that shares its home.

Reads one JSON order a line from standard input and answers each with one JSON line. Avatars go
through the real ingest: a delivered batch in the inbox, checked and taken in.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import (  # noqa: E402
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
)
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.utils import timezone  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402

from generator_worker.contract import (  # noqa: E402
    Heartbeat,
    JobManifest,
    JobProgress,
    Manifest,
    ManifestImage,
    PreviewReport,
)
from webgui.accounts.models import AuditEntry  # noqa: E402
from webgui.buffer import ingest  # noqa: E402
from webgui.buffer.models import Activation, Avatar, Batch, ClaimKey, Pool, Ticket  # noqa: E402
from webgui.fleet import alarms, roster  # noqa: E402
from webgui.fleet.models import Alarm, Sample, Worker  # noqa: E402
from webgui.registry import inspection  # noqa: E402
from webgui.registry.models import Checkpoint, Release  # noqa: E402
from webgui.studio import deliveries, jobs  # noqa: E402
from webgui.studio.models import Job  # noqa: E402

from . import fleets, models  # noqa: E402

HAIR = {"pink hair": "#e0628a", "black hair": "#22202a", "blond hair": "#e3b95b"}
MOUTH = {"smiling": 0, "sad": 180}
MANIFEST = {
    "format": 1,
    "name": "bench",
    "title": "Bench release",
    "description": "Drawn by the tests.",
    "tags": {"hair colour": dict.fromkeys(HAIR, 0.3), "mouth": dict.fromkeys(MOUTH, 0.5)},
    "params": {
        "rules": [
            {"when": {"mouth": ["sad"]}, "then": {"hair colour": ["pink hair", "black hair"]}}
        ]
    },
    "components": [],
    "licences": [
        {
            "name": "ToonHead",
            "author": "Johan Melin",
            "licence": "CC BY 4.0",
            "url": "https://www.dicebear.com/styles/toon-head/",
            "what": "The drawings.",
        }
    ],
}


def pool(slug: str, name: str) -> dict[str, Any]:
    release, _ = Release.objects.get_or_create(
        digest="ab" * 32,
        defaults={
            "name": "bench",
            "title": "Bench release",
            "manifest": MANIFEST,
            "state": Release.State.ACTIVE,
        },
    )
    Pool.objects.get_or_create(slug=slug, defaults={"name": name, "release": release})
    return {}


def deliver(slug: str, tags: list[list[str]]) -> dict[str, Any]:
    """One batch with an avatar for each list of tags, taken in by the real ingest."""
    where = Pool.objects.select_related("release").get(slug=slug)
    batch = _ordered(where, len(tags))
    folder = settings.SFTP_ROOT / "inbox" / "new" / str(batch.pk)
    folder.mkdir(parents=True)
    listed = [_picture(folder, batch.base_seed + number, own) for number, own in enumerate(tags)]
    manifest = Manifest(
        batch_id=batch.pk,
        release_digest=where.release.digest,
        worker="bench",
        software="tests",
        created=timezone.now(),
        images=tuple(listed),
    )
    (folder / "manifest.json").write_text(json.dumps(manifest.wire()))
    return {"outcome": str(ingest.ingest(batch.pk, "bench"))}


def order(slug: str, fraction: float) -> dict[str, Any]:
    """A batch under way, as far along as `fraction`."""
    batch = _ordered(Pool.objects.get(slug=slug), 8)
    Batch.objects.filter(pk=batch.pk).update(
        fraction=fraction, progress_at=timezone.now(), worker="bench", note="enhancing"
    )
    return {}


def beat() -> dict[str, Any]:
    """A worker is alive."""
    roster.record(Heartbeat(worker="bench", software="tests", device="cpu", memory_bytes=0))
    return {}


def clear() -> dict[str, Any]:
    """An empty buffer and no worker: the scene every test starts from."""
    Ticket.objects.filter(state=Ticket.State.WAITING).update(state=Ticket.State.EXPIRED)
    Ticket.objects.filter(state=Ticket.State.SERVED).delete()
    for rows in (Worker, ClaimKey, Avatar, Batch, Checkpoint, Alarm, Sample, Job):
        rows.objects.all().delete()
    Pool.objects.exclude(slug="toon").delete()
    Activation.objects.all().delete()
    first = Release.objects.get(digest="ab" * 32)
    Release.objects.filter(pk=first.pk).update(state=Release.State.ACTIVE)
    Pool.objects.update(release=first, canary=None, trouble="", paused=False)
    AuditEntry.objects.all().delete()
    Release.objects.filter(pools=None).delete()
    shutil.rmtree(settings.SFTP_ROOT / "inbox" / "new", ignore_errors=True)
    return {}


def release(title: str, digest: str, state: str = "draft") -> dict[str, Any]:
    manifest = MANIFEST | {"title": title}
    given = {"name": "bench", "title": title, "manifest": manifest, "state": state}
    Release.objects.get_or_create(digest=digest, defaults=given)
    return {}


def preview_step(fraction: float, note: str) -> dict[str, Any]:
    """The worker that has the one open job tells how far it is."""
    job = Job.objects.get(state__in=Job.OPEN)
    message = JobProgress(
        job_id=job.pk, worker=job.worker, step=int(1000 * fraction), of=1000, note=note
    )
    return {"recorded": jobs.record(message)}


def preview_done(hair: str, poor: list[int], **report: Any) -> dict[str, Any]:
    """What the worker drew for the one open job, taken in; the critic is not fond of some seeds."""
    job = Job.objects.select_related("release").get(state__in=Job.OPEN)
    folder = settings.SFTP_ROOT / "inbox" / "new" / f"job-{job.pk}"
    folder.mkdir(parents=True)
    listed = [
        _picture(folder, seed, [hair, "smiling"], 0.31 if seed in poor else 0.93)
        for seed in job.params["seeds"]
    ]
    figures = {
        "device": "cpu",
        "load_seconds": 1.9,
        "first_seconds": 1.4,
        "seconds_per_image": 0.43,
        "peak_memory_bytes": 731 * 2**20,
        "min_score": 0.7,
        "benign": 16 - len(poor),
        "kept": 16 - len(poor),
        "curation": f"{len(poor)} below the critic's threshold",
        "parts": [{"part": "adapter", "kind": "adapter", "largest": 201, "mean": 6.4}],
    }
    manifest = JobManifest(
        job_id=job.pk,
        kind=job.kind,
        release_digest=job.release.digest,
        worker=job.worker,
        software="tests",
        created=timezone.now(),
        params=job.params,
        images=tuple(listed),
        report=PreviewReport(**(figures | report)).model_dump(mode="json"),
    )
    (folder / "manifest.json").write_text(json.dumps(manifest.wire()))
    return {"outcome": str(deliveries.take_in(job.pk, job.worker))}


def available() -> dict[str, Any]:
    return {"count": Avatar.objects.filter(state=Avatar.State.AVAILABLE).count()}


def staff() -> dict[str, Any]:
    """An administrator's session."""
    user, _ = User.objects.get_or_create(username="keeper", defaults={"is_staff": True})
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return {"cookie": settings.SESSION_COOKIE_NAME, "value": session.session_key}


def inspect() -> dict[str, Any]:
    """The real inspection of all that waits for it, one after the other."""
    for row in Checkpoint.objects.filter(state=Checkpoint.State.INSPECTING):
        inspection.inspect(row.pk)
    return {"states": list(Checkpoint.objects.values_list("state", flat=True))}


def checkpoint(**fields: Any) -> dict[str, Any]:
    """A row as inspection would have left it."""
    return {"id": str(Checkpoint.objects.create(**fields).pk)}


def stock() -> dict[str, Any]:
    """A store with the shipped release and other people's weights."""
    return {"digest": models.stock(settings.UPLOAD_ROOT / "scratch")}


def fleet(minutes: int = 60) -> dict[str, Any]:
    """A fleet with one of each kind, and so many minutes of history behind it."""
    pool("toon", "Toon heads")
    toon = Pool.objects.get(slug="toon")
    fleets.workers(toon.release.digest)
    for told in fleets.TASKS:
        Batch.objects.filter(pk=_ordered(toon, 140).pk).update(**told)
    fleets.history(minutes)
    alarms.check()
    return {"alarms": Alarm.objects.count()}


def duty(name: str) -> dict[str, Any]:
    return {"duty": Worker.objects.get(name=name).duty}


def sample(available: int) -> dict[str, Any]:
    """The clock's next look, at which so many are left."""
    return {"slot": fleets.sample(1, available).slot}


def quarantine() -> dict[str, Any]:
    batch = _ordered(Pool.objects.get(slug="toon"), 4)
    Batch.objects.filter(pk=batch.pk).update(
        state=Batch.State.QUARANTINED, settled_at=timezone.now(), reason="no PNG", worker="lyon-1"
    )
    return {"raised": alarms.check()}


def _ordered(where: Pool, count: int) -> Batch:
    seed = Batch.objects.count() * 1000 + 1
    deadline = timezone.now() + timedelta(minutes=5)
    return Batch.objects.create(
        pool=where, release=where.release, count=count, base_seed=seed, deadline=deadline
    )


def _picture(folder: Path, seed: int, tags: list[str], score: float = 0.9) -> ManifestImage:
    """A delivered file and its entry."""
    data = _portrait(seed, tags)
    (folder / f"{seed}.png").write_bytes(data)
    return ManifestImage(
        file=f"{seed}.png",
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        width=512,
        height=512,
        seed=seed,
        score=score,
        safety=0.01,
        tags=tuple(tags),
    )


def _portrait(seed: int, tags: list[str]) -> bytes:
    """A face that shows its tags. No two seeds give the same file: ingest would drop it."""
    skin = ("#f4d3b3", "#c98f66", "#8a5a3c", "#e7b48a")[seed % 4]
    image = Image.new("RGB", (512, 512), f"hsl({seed * 47 % 360}, 60%, 82%)")
    draw = ImageDraw.Draw(image)
    hair = next((colour for tag, colour in HAIR.items() if tag in tags), "#6b4a35")
    draw.ellipse((120, 60, 392, 400), fill=hair)
    draw.ellipse((146, 120, 366, 390), fill=skin)
    draw.ellipse((60, 410, 452, 800), fill=f"hsl({seed * 101 % 360}, 45%, 40%)")
    for x in (205, 307):
        draw.ellipse((x - 13, 235, x + 13, 261), fill="#201a2b")
    start = next((angle for tag, angle in MOUTH.items() if tag in tags), 0)
    draw.arc((206, 280, 306, 345), start + 20, start + 160, fill="#7a2430", width=9)
    image.putpixel((0, 0), (seed // 65536 % 256, seed // 256 % 256, seed % 256))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


ORDERS: dict[str, Callable[..., dict[str, Any]]] = {
    "pool": pool,
    "deliver": deliver,
    "order": order,
    "beat": beat,
    "clear": clear,
    "release": release,
    "preview_step": preview_step,
    "preview_done": preview_done,
    "available": available,
    "staff": staff,
    "inspect": inspect,
    "checkpoint": checkpoint,
    "stock": stock,
    "fleet": fleet,
    "duty": duty,
    "quarantine": quarantine,
    "sample": sample,
}


def main() -> None:
    call_command("migrate", verbosity=0)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        answer = ORDERS[wanted.pop("order")](**wanted)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
