"""A release's whole way: uploaded in a zip, inspected by the server, fetched by a worker."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

import requests
from tusclient.client import TusClient

from generator_worker.config import Config
from generator_worker.fetching import Cache
from tests.integration.house import House
from tests.integration.upload_server import PREPARE


def test_an_uploaded_bundle_becomes_a_release(tmp_path: Path, bundle: Path, monkeypatch) -> None:
    monkeypatch.setenv("STYLEDIFFUSER_DATABASE_URL", "")
    zipped = shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle)
    house = House(tmp_path / "home")
    try:
        house.start("broker")
        token = house.manage("shell", "--no-imports", "-c", PREPARE).split()[-1]
        house.start("web", "ingest", "sftp")
        server = f"http://127.0.0.1:{house.web.getsockname()[1]}"
        who = {"Authorization": f"Bearer {token}"}
        upload = TusClient(f"{server}/api/v1/admin/uploads/", headers=who).uploader(zipped)
        upload.upload()
        report = {"state": "inspecting"}
        deadline = time.monotonic() + 120
        while report["state"] == "inspecting" and time.monotonic() < deadline:
            time.sleep(0.3)
            address = server + upload.request.response_headers["checkpoint"]
            report = requests.get(address, headers=who, timeout=30).json()
        assert (report["state"], report["kind"]) == ("ready", "release"), report
        digest = hashlib.sha256((bundle / "release.json").read_bytes()).hexdigest()
        assert report["used_by"] == [digest]
        assert house.rows("SELECT digest, state FROM registry_release") == [(digest, "draft")]
        folder = Cache(Config.from_env(house.plan.worker_env)).fetch(digest)
        for path in bundle.rglob("*"):
            if path.is_file():
                assert (folder / path.relative_to(bundle)).read_bytes() == path.read_bytes()
    finally:
        house.end()
