"""A preview's way from asking to the verdict, and the ways it can be disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from tests.integration import tiny_release
from tests.integration.house import House, copy_of


def load(house: House, bundle: Path, folder: Path) -> str:
    """A draft of its own for each test; its digest."""
    copy = copy_of(bundle, folder)
    house.manage("load_release", str(copy))
    return hashlib.sha256((copy / "release.json").read_bytes()).hexdigest()


def ask(house: House, digest: str) -> None:
    house.manage("preview_release", digest, "--no-wait")


def job(house: House, digest: str) -> dict[str, Any]:
    """The latest job of this release."""
    names = ("id", "state", "worker", "attempt", "step", "of", "reason")
    row = house.rows(
        'SELECT j.id, j.state, j.worker, j.attempt, j.step, j."of", j.reason FROM studio_job j '
        "JOIN registry_release r ON r.id = j.release_id WHERE r.digest = ? "
        "ORDER BY j.created_at DESC",
        digest,
    )[0]
    return dict(zip(names, row, strict=True))


def verdict(house: House, digest: str) -> tuple[str, list, dict, list]:
    found = house.rows(
        "SELECT verdict, reasons, figures, images FROM studio_preview WHERE job_id = ?",
        job(house, digest)["id"],
    )[0]
    return found[0], *(json.loads(text) for text in found[1:])


def state(house: House, digest: str) -> str:
    return house.rows("SELECT state FROM registry_release WHERE digest = ?", digest)[0][0]


def settled(house: House, digest: str, seconds: float = 90) -> str:
    over = ("done", "failed", "cancelled")
    house.wait("the job's end", lambda: job(house, digest)["state"] in over, seconds)
    return job(house, digest)["state"]


def begun(house: House, digest: str) -> None:
    house.wait("a running job", lambda: job(house, digest)["step"] > 0, 60)


def test_a_worker_previews_a_draft_and_the_command_waits(house: House, bundle, tmp_path):
    digest = load(house, slower(bundle, tmp_path, steps=50), tmp_path / "asked")
    said = house.manage("preview_release", digest[:12])
    assert "Good. The release is previewed." in said
    assert "drawing the grid" in said
    kind, reasons, figures, images = verdict(house, digest)
    assert (kind, reasons, state(house, digest)) == ("good", [], "previewed")
    assert [image["seed"] for image in images] == list(range(1, 17))
    assert figures["seconds_per_image"] > 0
    assert figures["peak_memory_bytes"] > 50 * 2**20  # it holds torch at least
    (adapter,) = figures["parts"]
    assert (adapter["part"], adapter["largest"] > 1) == ("adapter", True)
    house.wait("an empty outbox", lambda: not house.outbox.waiting())
    inbox = house.home / "sftp" / "inbox"
    assert [*(inbox / "new").iterdir(), *(inbox / "tmp").iterdir()] == []
    stored = list((house.home / "media" / "previews").rglob("*.png"))
    assert {path.stem for path in stored} == {image["digest"] for image in images}


def test_a_part_that_changes_nothing_is_found(house: House, tmp_path):
    folder = tmp_path / "shelf" / "idle"
    folder.parent.mkdir()
    tiny_release.build(folder, idle_adapter=True)
    digest = load(house, folder, tmp_path / "idle copy")
    ask(house, digest)
    assert settled(house, digest) == "done"
    kind, reasons, _, images = verdict(house, digest)
    assert (kind, [reason["code"] for reason in reasons]) == ("bad", ["idle_part"])
    assert "The adapter changes nothing" in reasons[0]["text"]
    assert len(images) == 16
    assert state(house, digest) == "draft"


def test_a_running_preview_is_called_off_and_the_worker_goes_on(house: House, bundle, tmp_path):
    digest = load(house, slower(bundle, tmp_path), tmp_path / "called off")
    ask(house, digest)
    begun(house, digest)
    house.manage("preview_release", digest, "--cancel")
    house.wait("the worker's stop", lambda: "is called off" in house.log("generator"), 20)
    assert job(house, digest)["state"] == "cancelled"
    assert house.outbox.waiting() == []
    house.open_pool("after-cancel", bundle, images=4, batch_size=4)
    house.wait("4 avatars", lambda: house.available("after-cancel") == 4, 60)
    assert state(house, digest) == "draft"


def test_previews_go_before_orders(house: House, bundle, tmp_path):
    """Two orders are there when the preview is asked for, and it is done before one of them."""
    os.kill(house.child("generator"), signal.SIGSTOP)
    try:
        house.open_pool("crowd", bundle, images=64, batch_size=32)
        house.wait("orders", lambda: len(house.batches("crowd")) >= 2)
        digest = load(house, bundle, tmp_path / "hurry")
        ask(house, digest)
    finally:
        os.kill(house.child("generator"), signal.SIGCONT)
    assert settled(house, digest) == "done"
    later = (
        "SELECT count(*) FROM buffer_batch b JOIN buffer_pool p ON p.id = b.pool_id, studio_job j "
        "WHERE p.slug = 'crowd' AND b.state = 'ingested' AND b.settled_at > j.settled_at "
        "AND b.ordered_at < j.created_at AND j.id = ?"
    )
    key = job(house, digest)["id"]
    house.wait("an older order, done after it", lambda: house.rows(later, key)[0][0], 60)
    house.rows("UPDATE buffer_pool SET paused = 1 WHERE slug = 'crowd'")


def test_killing_the_drawing_process_costs_an_attempt(house: House, bundle, tmp_path):
    digest = load(house, slower(bundle, tmp_path), tmp_path / "killed")
    ask(house, digest)
    begun(house, digest)
    os.kill(house.child("generator"), signal.SIGKILL)
    assert settled(house, digest) == "done"
    assert job(house, digest)["attempt"] == 2
    assert verdict(house, digest)[0] == "good"


def test_results_wait_on_the_workers_disk_and_the_sweep_finds_them(house: House, bundle, tmp_path):
    digest = load(house, slower(bundle, tmp_path), tmp_path / "away")
    ask(house, digest)
    begun(house, digest)  # it has fetched the release
    assert house.stop("sftp")
    house.wait("a spooled preview", house.outbox.waiting, 60)
    house.kill("broker")  # the message of the delivery has nobody to go to
    house.start("sftp")
    inbox = house.home / "sftp" / "inbox" / "new"
    house.wait("a delivery", lambda: list(inbox.glob("job-*")), 60)
    house.start("broker")
    assert settled(house, digest) == "done"
    assert verdict(house, digest)[0] == "good"
    house.wait("an empty outbox", lambda: not house.outbox.waiting(), 90)


def test_a_release_that_cannot_be_loaded_fails_three_times_and_says_why(house, bundle, tmp_path):
    broken = copy_of(bundle, tmp_path / "broken")
    shutil.rmtree(broken / "critic")
    listed = json.loads((broken / "release.json").read_text())
    listed["components"] = [
        one for one in listed["components"] if not one["file"].startswith("critic/")
    ]
    (broken / "release.json").write_text(json.dumps(listed))
    digest = load(house, broken, tmp_path / "broken copy")
    ask(house, digest)
    assert settled(house, digest) == "failed"
    assert job(house, digest)["attempt"] == 3
    kind, reasons, _, images = verdict(house, digest)
    assert (kind, images) == ("bad", [])
    assert "has no component 'critic'" in reasons[0]["text"]


def test_nothing_is_left_behind(house: House):
    assert house.outbox.waiting() == []
    inbox = house.home / "sftp" / "inbox"
    assert [*(inbox / "new").iterdir(), *(inbox / "tmp").iterdir()] == []
    assert [*(house.home / "media" / "staging").iterdir()] == []
    states = {row[0] for row in house.rows("SELECT state FROM studio_job")}
    assert states == {"done", "failed", "cancelled"}


def slower(bundle: Path, tmp_path: Path, steps: int = 100) -> Path:
    """The same release with so many steps that there is time to watch or disturb it."""
    copy = shutil.copytree(bundle, tmp_path / "slower")
    text = (copy / "release.json").read_text()
    assert '"steps": 12' in text
    (copy / "release.json").write_text(text.replace('"steps": 12', f'"steps": {steps}'))
    return copy
