"""A release's whole way: weights uploaded and inspected by the server, composed over REST, fetched
by a worker, drawn with."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import requests
from tusclient.client import TusClient

from generator_worker.config import Config
from generator_worker.engine import Engine
from generator_worker.fetching import Cache
from tests.integration.house import House
from tests.integration.upload_server import PREPARE
from tests.webgui.registry.shelf import write_sources


def inspected(server: str, who: dict[str, str], file: Path) -> dict[str, Any]:
    """The report of a file, once it is uploaded and inspected."""
    upload = TusClient(f"{server}/api/v1/admin/uploads/", headers=who).uploader(str(file))
    upload.upload()
    address = server + upload.request.response_headers["checkpoint"]
    report = {"state": "inspecting"}
    deadline = time.monotonic() + 120
    while report["state"] == "inspecting" and time.monotonic() < deadline:
        time.sleep(0.3)
        report = requests.get(address, headers=who, timeout=30).json()
    assert report["state"] == "ready", report
    return report


def test_from_uploads_to_pictures(tmp_path: Path, bundle: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("STYLEDIFFUSER_DATABASE_URL", "")
    monkeypatch.setenv("STYLEDIFFUSER_AVATAR_SIZE", "128")  # what the tiny release draws
    sources = write_sources(tmp_path)
    zipped = Path(shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle))
    house = House(tmp_path / "home")
    try:
        house.start("broker")
        token = house.manage("shell", "--no-imports", "-c", PREPARE).split()[-1]
        house.start("web", "ingest", "sftp")
        server = f"http://127.0.0.1:{house.web.getsockname()[1]}"
        who = {"Authorization": f"Bearer {token}"}
        report = inspected(server, who, zipped)
        assert report["kind"] == "release"
        digest = hashlib.sha256((bundle / "release.json").read_bytes()).hexdigest()
        assert report["used_by"] == [digest]
        assert house.rows("SELECT digest, state FROM registry_release") == [(digest, "draft")]
        cache = Cache(Config.from_env(house.plan.worker_env))
        folder = cache.fetch(digest)
        for path in bundle.rglob("*"):
            if path.is_file():
                assert (folder / path.relative_to(bundle)).read_bytes() == path.read_bytes()

        faces, lora = (
            inspected(server, who, sources / name)["id"]
            for name in ("faces.pkl", "lora.safetensors")
        )
        wish = {
            "title": "Faces",
            "prototype": faces,
            **dict.fromkeys(("base", "critic", "upscaler"), digest),
            "loras": [{"part": lora, "weight": 1.0}],
            "vocabulary": digest,
        }
        engine = Engine([], device="cpu", source=cache)
        with_lora, without = (
            drawn(engine, server, who, {**wish, **change}) for change in ({}, {"loras": []})
        )
        assert np.abs(with_lora - without).max() > 8
        report = requests.get(f"{server}/api/v1/admin/checkpoints/{lora}/", headers=who, timeout=30)
        assert len(report.json()["used_by"]) == 1
        assert not (sources / "canary").exists()
    finally:
        house.end()


def drawn(engine: Engine, server: str, who: dict[str, str], wish: dict[str, Any]) -> np.ndarray:
    answer = requests.post(f"{server}/api/v1/admin/releases/", json=wish, headers=who, timeout=30)
    assert answer.status_code == 201, answer.text
    release = engine.release(answer.json()["digest"])
    (draft,) = release.generate([1])
    (avatar,) = release.upscale([draft.image])
    assert avatar.size == (128, 128)
    return np.asarray(avatar, dtype=int)
