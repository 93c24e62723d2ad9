"""The whole way on a real `make demo`: two files uploaded in the browser become a release, visitors
get its avatars, and it is taken back. The same walk takes the pictures of docs/walkthrough.md."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import bundle as bundle  # a fixture
from tests.integration.test_demo import Demo
from tests.walk.walk import Walk
from tests.webgui.registry.shelf import write_sources
from webgui.demo.ground import free_port

PARTS = {
    "prototype": "faces.pkl",
    "base": "Tiny heads",
    "lora": "lora.safetensors",
    "critic": "Tiny heads",
    "upscaler": "Tiny heads",
}
# Nothing here is trained, so nothing is curated away.
NUMBERS = {"min_score": "0", "max_unsafe": "1", "min_distance": "0", "steps": "2"}


@pytest.fixture
def demo(tmp_path: Path, bundle: Path) -> Iterator[Demo]:
    running = Demo(tmp_path / "home", bundle, free_port())
    try:
        running.ready(120)
        yield running
        running.process.send_signal(signal.SIGINT)
        running.process.wait(25)
    finally:
        for pid in running.processes():
            os.kill(pid, signal.SIGKILL)
        running.process.wait()


@pytest.fixture
def page(demo: Demo, chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(base_url=f"http://127.0.0.1:{demo.port}")
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def releases(avatars: list[dict[str, Any]]) -> set[str]:
    return {avatar["release"] for avatar in avatars}


def test_from_two_files_to_new_avatars_and_back(demo: Demo, page: Any, tmp_path: Path) -> None:
    sources = write_sources(tmp_path)
    password = demo.said.partition("password ")[2].split()[0]
    way = Walk(page)
    before = way.claim(1)
    way.sign_in("admin", password)
    garbage = tmp_path / "holiday.pkl"
    garbage.write_bytes(b"\xff\xd8\xff\xe0 a picture, not a model")
    told = way.refused(garbage)
    assert "JPEG picture" in told and "Accepted would be" in told

    page.goto("/manage/checkpoints/")
    way.upload([sources / "faces.pkl", sources / "lora.safetensors"])
    way.open_report("faces.pkl")
    digest = way.compose("Walked heads", PARTS, NUMBERS, weight="1")
    way.preview()
    way.activate("Toon heads")
    assert releases(way.claim(2)) == {digest}

    way.roll_back("Toon heads", "Tiny heads")
    assert releases(way.claim(2)) == releases(before)
    assert digest not in releases(before)
    kept = page.request.get(f"/api/v1/avatars/{before[0]['id']}/").json()
    assert kept["release"] == before[0]["release"]
    assert not (sources / "canary").exists(), "something in the pickle was run"
