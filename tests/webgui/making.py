"""Making what tests need: rows as the services would write them, files as workers deliver them."""

from __future__ import annotations

import hashlib
import io
import json
import random
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone
from PIL import Image

from generator_worker.contract import BATCH_RECEIVED
from webgui.buffer.models import Avatar, AvatarTag, Batch, Pool
from webgui.buffer.progress import patience
from webgui.fleet.models import Worker
from webgui.registry.models import Release

TAGS = {
    "hair colour": {"pink hair": 0.1, "black hair": 0.5},
    "mouth": {"smiling": 0.4, "serious": 0.3},
}


def release_manifest(name: str = "toon", **changes: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "name": name,
        "title": "Toon heads",
        "description": "",
        "tags": TAGS,
        "params": {},
        "components": [],
        "licences": [],
        "provenance": {},
        "measured": {},
    } | changes


def make_release(name: str = "toon", state: str = Release.State.ACTIVE, **manifest: Any) -> Release:
    return Release.objects.create(
        digest=hashlib.sha256(name.encode()).hexdigest(),
        name=name,
        title="Toon heads",
        state=state,
        manifest=release_manifest(name, **manifest),
    )


def make_pool(slug: str = "toon", release: Release | None = None, **fields: Any) -> Pool:
    sizes = {"low_watermark": 8, "high_watermark": 16, "batch_size": 4} | fields
    return Pool.objects.create(
        slug=slug, name=slug.title(), release=release or make_release(slug), **sizes
    )


def make_worker(name: str = "w1", **fields: Any) -> Worker:
    return Worker.objects.create(name=name, **({"images_per_minute": 60.0} | fields))


def make_batch(pool: Pool, count: int = 4, **fields: Any) -> Batch:
    defaults = {"base_seed": 1000, "deadline": timezone.now() + patience(count)}
    return Batch.objects.create(pool=pool, release=pool.release, count=count, **(defaults | fields))


def stock(pool: Pool, count: int, tags: tuple[str, ...] = (), start: int = 0) -> list[Avatar]:
    """Available avatars without files."""
    batch = make_batch(pool, count=max(count, 1), state=Batch.State.INGESTED)
    avatars = Avatar.objects.bulk_create(
        [
            Avatar(
                pool=pool,
                release=pool.release,
                batch=batch,
                digest=hashlib.sha256(f"{batch.pk}/{index}".encode()).hexdigest(),
                bytes=1,
                width=512,
                height=512,
                seed=start + index,
                score=0.9,
                safety=0.01,
                tags=list(tags),
            )
            for index in range(count)
        ],
        batch_size=500,
    )
    AvatarTag.objects.bulk_create(
        [
            AvatarTag(avatar=avatar, pool=pool, tag=tag, key=avatar.key)
            for avatar in avatars
            for tag in tags
        ],
        batch_size=500,
    )
    return avatars


def png(seed: int = 0, size: int = 512) -> bytes:
    """A valid picture that differs with its seed."""
    chance = random.Random(seed)
    tiny = Image.new("RGB", (4, 4))
    tiny.putdata([tuple(chance.randrange(256) for _ in range(3)) for _ in range(16)])
    out = io.BytesIO()
    tiny.resize((size, size), Image.Resampling.NEAREST).save(out, "PNG")
    return out.getvalue()


def listing(name: str, data: bytes, **changes: Any) -> dict[str, Any]:
    """A manifest's entry for this file."""
    return {
        "file": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "width": 512,
        "height": 512,
        "seed": 1000,
        "score": 0.9,
        "safety": 0.01,
        "tags": [],
    } | changes


def manifest(batch: Batch, images: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "contract": 1,
        "batch_id": str(batch.pk),
        "release_digest": batch.release.digest,
        "worker": "w1",
        "software": "stylediffuser 0.1.0",
        "created": timezone.now().isoformat(),
        "params": batch.params,
        "images": images,
    } | changes


def inbox(batch_id: UUID | str) -> Path:
    return Path(settings.SFTP_ROOT) / "inbox" / "new" / str(batch_id)


def deliver(
    batch: Batch,
    count: int | None = None,
    tags: tuple[str, ...] = (),
    files: dict[str, bytes] | None = None,
    **changes: Any,
) -> Path:
    """What a worker leaves in the inbox for this batch."""
    count = batch.count if count is None else count
    if files is None:
        seeds = range(batch.base_seed, batch.base_seed + count)
        files = {f"{seed}.png": png(seed + hash(batch.pk) % 10**6) for seed in seeds}
    folder = inbox(batch.pk)
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    images = [listing(name, data, tags=list(tags)) for name, data in files.items()]
    write_manifest(folder, manifest(batch, images, **changes))
    return folder


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(content))


def quarantined(home: Path) -> list[tuple[Path, str]]:
    """(what was delivered, the reason beside it)"""
    return [
        (place / "delivered", (place / "REASON.txt").read_text().strip())
        for place in sorted((home / "quarantine").glob("*"))
    ]


def receipts(sent: list) -> list[tuple[str, str]]:
    return [(message["batch_id"], q) for task, message, q in sent if task == BATCH_RECEIVED]


def stored_files(home: Path) -> list[Path]:
    return [path for path in (home / "media").rglob("*") if path.is_file()]
