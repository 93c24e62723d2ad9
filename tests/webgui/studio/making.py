"""Jobs and previews as the services would write them, deliveries as workers make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils import timezone

from generator_worker.contract import JobProgress, job_folder
from tests.webgui.making import listing, make_release, png
from webgui.accounts import audit
from webgui.registry.models import Release
from webgui.studio import previews
from webgui.studio.models import Job, Preview

REPORT: dict[str, Any] = {
    "device": "cpu",
    "load_seconds": 1.5,
    "first_seconds": 2.5,
    "seconds_per_image": 0.5,
    "peak_memory_bytes": 2**30,
    "min_score": 0.7,
    "benign": 16,
    "kept": 15,
    "curation": "1 near-duplicate",
    "parts": [{"part": "adapter", "kind": "adapter", "largest": 90, "mean": 4.25}],
}


def draft(name: str = "draft") -> Release:
    return make_release(name, state=Release.State.DRAFT)


def asked(release: Release | None = None) -> Preview:
    return previews.ask(release or draft(), audit.COMMAND_LINE)[0]


def progress(job: Job, step: int = 1, of: int = 16, **changes: Any) -> JobProgress:
    fields = {"job_id": job.pk, "worker": job.worker, "step": step, "of": of, "note": "drawing"}
    return JobProgress(**(fields | changes))


def manifest(job: Job, images: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "contract": 1,
        "job_id": str(job.pk),
        "kind": job.kind,
        "release_digest": job.release.digest,
        "worker": job.worker,
        "software": "stylediffuser 0.1.0",
        "created": timezone.now().isoformat(),
        "params": job.params,
        "images": images,
        "report": REPORT,
    } | changes


def inbox(job: Job) -> Path:
    return Path(settings.SFTP_ROOT) / "inbox" / "new" / job_folder(job.pk)


def deliver(job: Job, size: int = 512, count: int | None = None, **changes: Any) -> Path:
    """What a worker leaves in the inbox for this job."""
    folder = inbox(job)
    folder.mkdir(parents=True)
    images = []
    for seed in job.params["seeds"][:count]:
        data = png(seed, size)
        (folder / f"{seed}.png").write_bytes(data)
        images.append(listing(f"{seed}.png", data, seed=seed, width=size, height=size))
    (folder / "manifest.json").write_text(json.dumps(manifest(job, images, **changes)))
    return folder
