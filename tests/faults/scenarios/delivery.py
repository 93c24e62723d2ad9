"""The way from a worker's spool into the inbox: cut, swallowed, full, twice, and hostile."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from generator_worker.config import Config
from generator_worker.delivery import GIVE_UP_SECONDS, deliver
from tests.faults.fault import Missing, fault
from tests.faults.rig import can_mount, full
from tests.faults.scene import Scene, manifest_of, plain_png


def mid_put(scene: Scene) -> str:
    """A rush; then wait until a batch is half-way up the wire. Its name."""
    scene.rig.sftp_wire.pause = 0.05
    scene.rush()
    tmp = scene.rig.home / "sftp" / "inbox" / "tmp"
    found: list[str] = []

    def half_way() -> bool:
        for folder in tmp.iterdir():
            names = {path.name for path in folder.iterdir()}
            if len(names) > 2 and "manifest.json" not in names:
                found.append(folder.name.partition(".")[0])
        return bool(found)

    scene.wait("a batch half-way up", half_way, 90)
    return found[0]


@fault("kill -9 of the SFTP session, mid-put", ours=True)
def sftp_session_killed(scene: Scene) -> None:
    rig = scene.rig
    batch = mid_put(scene)
    if rig.ground.sftp == "OpenSSH":
        for session in psutil.Process(rig.pid("sftp")).children(recursive=True):
            session.send_signal(signal.SIGKILL)
    else:
        rig.kill("sftp")
        rig.start("sftp")
    scene.clock()
    scene.expect(batch in rig.ledger.spooled(), "the worker's spool lost the batch")
    rig.sftp_wire.pause = 0.0
    scene.back()


@fault("SFTP swallows every packet, mid-put (gives up ≤ 35 s, spool kept)", ours=True)
def sftp_black_hole(scene: Scene) -> None:
    rig = scene.rig
    batch = mid_put(scene)
    before = _refusals(scene)
    rig.sftp_wire.swallow(new_ones_too=True)
    began = time.monotonic()
    scene.wait("the client giving up", lambda: _refusals(scene) > before, 90)
    gave_up = time.monotonic() - began
    scene.note(f"gave up after {gave_up:.0f} s")
    scene.expect(gave_up <= GIVE_UP_SECONDS, f"the client took {gave_up:.0f} s to give up")
    scene.expect(batch in rig.ledger.spooled(), "the worker's spool lost the batch")
    rig.sftp_wire.pause = 0.0
    rig.sftp_wire.carry_again()
    scene.clock()
    scene.back()


@fault("the inbox's disk full while a batch arrives", ours=True)
def inbox_disk_full(scene: Scene) -> None:
    if not can_mount():
        raise Missing("mounting a small disk needs root")
    rig = scene.rig
    before = _refusals(scene)
    with full(rig.home / "sftp"):
        scene.rush()
        scene.wait("a refused delivery", lambda: _refusals(scene) > before, 90)
        scene.expect(bool(rig.ledger.spooled()), "the worker's spool lost the batch")
        scene.expect(not rig.ledger.in_inbox(), "something half-done is in inbox/new")
    scene.clock()
    scene.back()


@fault("a settled batch delivered again", ours=True)
def delivered_twice(scene: Scene) -> None:
    rig = scene.rig
    aside = rig.home / "aside" / str(uuid4())
    scene.rush()
    seen: list[Path] = []

    def copied() -> bool:
        for folder in (rig.home / "worker" / "outbox" / "ready").iterdir():
            try:
                shutil.copytree(folder, aside / folder.name, dirs_exist_ok=True)
            except (FileNotFoundError, shutil.Error):
                continue  # settled meanwhile
            seen.append(aside / folder.name)
        return bool(seen)

    scene.wait("a spooled batch", copied, 90)
    scene.clock()
    scene.back(lambda: not rig.ledger.spooled())
    again, config = {folder.name for folder in seen}, rig.worker_config()
    rows = _images_of(scene, again)
    for folder in seen:
        deliver(config, folder.name, folder)  # type: ignore[arg-type]
    scene.wait("the inbox empty", lambda: not again & rig.ledger.in_inbox(), 30)
    scene.expect(bool(rows), "the first delivery brought no rows")
    scene.expect(_images_of(scene, again) == rows, "the second delivery changed rows")


def _images_of(scene: Scene, batches: set[str]) -> set[tuple[str, int, str]]:
    """(id, seed, digest) of what came of these; others go on meanwhile."""
    return {
        (avatar, seed, digest)
        for avatar, batch, seed, digest, _ in scene.rig.clerk("avatars")
        if batch in batches
    }


@fault("a dozen hostile batches beside good work", ours=True)
def hostile_batches(scene: Scene) -> None:
    rig = scene.rig
    rig.clerk("open_pool", "hostile", str(rig.bundle), 0, 0, 1)
    rig.clerk("pause_pool", "hostile", True)
    config, ids = rig.worker_config(), []
    scene.rush()
    scene.clock()
    for change in HOSTILE:
        order = rig.clerk("shelve_order", "hostile", 2)
        ids.append(_drop(config, rig.home / "hostile", order, change))
    scene.back(lambda: not set(ids) & rig.ledger.in_inbox())
    states = {batch["id"]: batch for batch in scene.batches("hostile")}
    good = [key for key in ids if key in states and states[key]["state"] != "quarantined"]
    scene.expect(not good, f"{len(good)} hostile batches were not quarantined")
    lain = [place.name for place in (rig.home / "quarantine").iterdir()]
    scene.expect(all(any(key in name for name in lain) for key in ids), "not all lie in quarantine")
    scene.note(f"{len(ids)} quarantined")


def _drop(config: Config, home: Path, order: dict[str, Any], change: str) -> str:
    """Ship one hostile batch as a stolen key could. Its id."""
    batch = str(uuid4()) if change == "never ordered" else order["id"]
    png = plain_png(128)
    files = {"1.png": (png, 1), "2.png": (png + b"<script>alert(1)</script>", 2)}
    manifest = manifest_of(batch, order["release"], files) | {"worker": "mallory"}
    text = json.dumps(HOSTILE[change](manifest))
    folder = home / batch
    folder.mkdir(parents=True)
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data[:200] if change == "truncated" else data)
    if change == "unlisted file":
        (folder / "shell.php").write_bytes(b"<?php system($_GET[0]);")
    if change == "vast picture":
        (folder / "1.png").write_bytes(png[:16] + (12_000).to_bytes(4) * 2 + png[24:])
    (folder / "manifest.json").write_text(text[: len(text) // 2] if change == "half JSON" else text)
    deliver(config, batch, folder)  # type: ignore[arg-type]
    return batch


def _image(number: int, **changes: Any) -> Any:
    def change(manifest: dict[str, Any]) -> dict[str, Any]:
        images = [dict(image) for image in manifest["images"]]
        images[number] |= changes
        return manifest | {"images": images}

    return change


HOSTILE: dict[str, Any] = {
    "never ordered": lambda manifest: manifest,
    "half JSON": lambda manifest: manifest,
    "truncated": lambda manifest: manifest,
    "unlisted file": lambda manifest: manifest,
    "vast picture": lambda manifest: manifest,
    "missing file": _image(0, file="3.png"),
    "path upwards": _image(0, file="../../../etc/passwd"),
    "same file twice": _image(1, file="1.png"),
    "wrong digest": _image(0, sha256="0" * 64),
    "wrong size": _image(0, width=4096, height=4096),
    "other release": lambda manifest: manifest | {"release_digest": "0" * 64},
    "other batch": lambda manifest: manifest | {"batch_id": str(uuid4())},
    "later contract": lambda manifest: manifest | {"contract": 99},
    "unknown tags": _image(0, tags=["'; DROP TABLE buffer_avatar; --"]),
    "too many": lambda manifest: manifest | {"images": manifest["images"] * 2},
    "null": lambda manifest: None,
}


def _refusals(scene: Scene) -> int:
    return scene.rig.log("generator").count("Not delivered")
