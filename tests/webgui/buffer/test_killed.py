"""An ingest that dies as by kill -9 (nothing is cleaned up), at each of its steps, for real.

In a process of its own, since a fork must not share the test's database connection.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

SCRIPT = """
import os
import django

django.setup()
from django.core.management import call_command
from django.db import connections

from tests.webgui.making import deliver, inbox, make_batch, make_pool
from webgui.buffer import ingest as module
from webgui.buffer import pictures
from webgui.buffer.models import Avatar, Batch
from webgui.config.celery import app

receipts = []
app.send_task = lambda task, **options: receipts.append(options["kwargs"]["message"]["batch_id"])
call_command("migrate", verbosity=0)
pool = make_pool()
STEPS = [
    (pictures.Staging, "publish", "before the move"),
    (module, "_commit", "after the move, before the commit"),
    (module.tickets, "serve", "inside the transaction"),
    (module.inbox, "remove", "after the commit"),
    (module, "_answer", "before the receipt"),
]
for number, (place, name, when) in enumerate(STEPS):
    batch = make_batch(pool, count=2, base_seed=100 * number)
    deliver(batch)
    connections.close_all()
    child = os.fork()
    if child == 0:
        setattr(place, name, lambda *_, **__: os._exit(9))
        module.ingest(batch.pk)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, when
    module.sweep()
    module.ingest(batch.pk, "w1")  # as the worker asks again for its receipt
    batch.refresh_from_db()
    assert (batch.state, batch.ingested_count) == (Batch.State.INGESTED, 2), when
    mine = Avatar.objects.filter(batch=batch)
    assert mine.count() == 2, when
    assert all(pictures.stored(avatar.digest).exists() for avatar in mine), when
    assert not inbox(batch.pk).exists(), when
    assert not pictures.Staging(batch.pk).folder.exists(), when
    assert str(batch.pk) in receipts, when
assert Avatar.objects.count() == 2 * len(STEPS)
print("survived", len(STEPS))
"""


def test_death_at_any_step_is_made_good_by_the_next_sweep(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if "STYLEDIFFUSER" not in key}
    env |= {"DJANGO_SETTINGS_MODULE": "webgui.config.settings", "PYTHONPATH": str(ROOT)}
    env |= {"STYLEDIFFUSER_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "survived 5" in done.stdout
