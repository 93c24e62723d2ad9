"""`time_ingest FOLDER`: takes in batches made of the folder's pictures, as asked for on standard
input, a line of JSON each: {"how": "ingest" | "loop", "count": 32} -> {"seconds": …}. Each batch
has pictures of its own; the bare loop goes over the same ones again.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone
from PIL import Image

from tests.bench.stocking.management.commands.stock import SHIPPED
from webgui.buffer import ingest
from webgui.buffer.models import Avatar, Batch, Pool
from webgui.buffer.provision import point_pool
from webgui.registry.loading import load_bundle


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *_: Any, folder: Path, **__: Any) -> None:
        pool, _ = point_pool("toon", load_bundle(SHIPPED)[0])
        files = sorted(folder.glob("*.png"))
        for line in sys.stdin:
            asked = json.loads(line)
            if asked["how"] == "ingest":
                chosen, files = files[: asked["count"]], files[asked["count"] :]
                seconds = _time_ingest(pool, chosen)
            else:
                seconds = _time_loop(chosen)
            print(json.dumps({"seconds": seconds}), flush=True)


def _time_ingest(pool: Pool, files: list[Path]) -> float:
    batch = Batch.objects.create(
        pool=pool,
        release=pool.release,
        count=len(files),
        base_seed=0,
        deadline=timezone.now() + timedelta(hours=1),
    )
    _deliver(batch, files)
    before = Avatar.objects.count()
    began = time.perf_counter()
    outcome = ingest.ingest(batch.pk)
    took = time.perf_counter() - began
    assert outcome == ingest.Outcome.INGESTED, outcome
    # A few of the mirrored and recoloured pictures pass for near-duplicates, and cost as much.
    kept = Avatar.objects.count() - before
    assert kept > len(files) / 2, f"{kept} of {len(files)} kept"
    return took


def _deliver(batch: Batch, files: list[Path]) -> None:
    folder = Path(settings.SFTP_ROOT) / "inbox" / "new" / str(batch.pk)
    folder.mkdir(parents=True)
    tags = [next(iter(group)) for group in batch.release.tag_groups.values()]
    images = []
    for seed, path in enumerate(files):
        data = path.read_bytes()
        (folder / f"{seed}.png").write_bytes(data)
        images.append(
            {"file": f"{seed}.png", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data),
             "width": 512, "height": 512, "seed": seed, "score": 0.9, "safety": 0.01, "tags": tags}
        )  # fmt: skip
    manifest = {
        "contract": 1, "batch_id": str(batch.pk), "release_digest": batch.release.digest,
        "worker": "bench", "software": "bench", "created": timezone.now().isoformat(),
        "params": {}, "images": images,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _time_loop(files: list[Path]) -> float:
    began = time.perf_counter()
    for path in files:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            image.verify()
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            image.convert("RGB").save(io.BytesIO(), "PNG")
    return time.perf_counter() - began
