"""A Django process that stays: it opens pools and reads rows for the rig, in milliseconds each.

Run as a program it answers JSON lines, `[name, argument, …]`, on whatever database its
environment names; `Clerk` is the other end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Clerk:
    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.clerk"],
                cwd=ROOT, env=dict(env), text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def __call__(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the clerk has died; its log says why"
        answer = json.loads(line)
        if "fault" in answer:
            raise RuntimeError(f"{name}: {answer['fault']}")
        return answer["result"]

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)


def open_pool(slug: str, bundle: str, low: int, high: int, batch_size: int) -> None:
    from django.core.management import call_command

    sizes = ["--low", str(low), "--high", str(high), "--batch-size", str(batch_size)]
    options = ["--pool", slug, "--activate", *sizes]
    call_command("load_release", bundle, *options, stdout=sys.stderr)


def ask_preview(bundle: str) -> str:
    """Of the release in this folder; the job's id."""
    from hashlib import sha256

    from django.core.management import call_command

    from webgui.accounts import audit
    from webgui.studio import previews

    call_command("load_release", bundle, stdout=sys.stderr)
    manifest = (Path(bundle) / "release.json").read_bytes()
    release = previews.release_of(sha256(manifest).hexdigest())
    preview, _ = previews.ask(release, audit.COMMAND_LINE)
    return str(preview.job_id)


def job(job_id: str) -> dict[str, Any]:
    from webgui.studio.models import Job

    return Job.objects.values("state", "attempt", "worker", "reason").get(pk=job_id)


def pause_pool(slug: str, paused: bool) -> None:
    from webgui.buffer.models import Pool

    Pool.objects.filter(slug=slug).update(paused=paused)


def available(slug: str) -> int:
    from webgui.buffer.models import Avatar

    return Avatar.objects.filter(pool__slug=slug, state="available").count()


def batches(slug: str = "") -> list[dict[str, Any]]:
    """Oldest first."""
    from webgui.buffer.models import Batch

    found = Batch.objects.filter(pool__slug=slug) if slug else Batch.objects.all()
    fields = ["id", "state", "attempt", "count", "worker", "fraction", "reason"]
    fields += ["deadline", "progress_at", "rung_at", "base_seed", "pool__slug", "ingested_count"]
    return list(found.order_by("ordered_at").values(*fields))


def avatars() -> list[tuple[str, str, int, str, str]]:
    """(id, batch, seed, digest, state) of every image the server ever took in."""
    from webgui.buffer.models import Avatar

    fields = ("id", "batch_id", "seed", "digest", "state")
    return list(Avatar.objects.values_list(*fields))


def workers() -> dict[str, float]:
    """Seconds since each worker was last heard."""
    from django.utils import timezone

    from webgui.fleet.models import Worker

    seen = Worker.objects.values_list("name", "last_seen")
    return {name: (timezone.now() - last).total_seconds() for name, last in seen}


def shelve_order(slug: str, count: int) -> dict[str, Any]:
    """An order that was given up, though a late delivery of it would still be welcome."""
    from django.utils import timezone

    from webgui.buffer.models import Batch, Pool

    pool = Pool.objects.select_related("release").get(slug=slug)
    batch = Batch.objects.create(
        pool=pool, release=pool.release, count=count, base_seed=1, state=Batch.State.FAILED,
        deadline=timezone.now(), settled_at=timezone.now(), reason="shelved by the rig",
    )  # fmt: skip
    return {"id": batch.pk, "release": pool.release.digest}


def send_again(batch_id: str, worker: str) -> None:
    """Ring once more for an order that is under way, as a broker may by itself."""
    from generator_worker.contract import GENERATE_BATCH, GenerateBatch, worker_queue
    from webgui.buffer.models import Batch
    from webgui.config.celery import app

    batch = Batch.objects.select_related("pool", "release").get(pk=batch_id)
    order = GenerateBatch(
        batch_id=batch.pk, attempt=batch.attempt, pool=batch.pool.slug, count=batch.count,
        release_digest=batch.release.digest, base_seed=batch.base_seed, params=batch.params,
    )  # fmt: skip
    app.send_task(GENERATE_BATCH, kwargs={"message": order.wire()}, queue=worker_queue(worker))


def shorten_log() -> None:
    """SQLite writes on into a log it has room in; without one it needs the disk at once."""
    from django.db import connection

    with connection.cursor() as cursor:
        busy = 1
        while busy:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            busy = cursor.fetchone()[0]


_orders = (shelve_order, send_again, shorten_log, ask_preview, job)
CALLS: dict[str, Callable[..., Any]] = {
    call.__name__: call
    for call in (migrate, open_pool, pause_pool, available, batches, avatars, workers, *_orders)
}


def main() -> None:
    import django
    from django.db import close_old_connections

    django.setup()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        close_old_connections()
        try:
            answer = {"result": CALLS[name](*arguments)}
        except Exception as error:
            answer = {"fault": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
