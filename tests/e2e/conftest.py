"""A real server (uvicorn, its own home and SQLite file), a stagehand behind it, a real Chromium."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .browser import ARGUMENTS, CHROMIUM

REPO = Path(__file__).resolve().parents[2]
PATIENCE = 15_000  # ms; nothing takes this long unless the machine is busy with other things


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium: a skip on one's own machine, a failure where CI is set."""
    if CHROMIUM.exists():
        return
    reason = f"{CHROMIUM} is missing: apt-get install chromium"
    for item in items:
        if Path(__file__).parent in item.path.parents and not os.environ.get("CI"):
            item.add_marker(pytest.mark.skip(reason=reason))


@dataclass
class Scene:
    """The running server's address, and orders to the stagehand."""

    url: str
    stagehand: subprocess.Popen[str]

    def order(self, order: str, **details: Any) -> dict[str, Any]:
        assert self.stagehand.stdin and self.stagehand.stdout
        self.stagehand.stdin.write(json.dumps({"order": order, **details}) + "\n")
        self.stagehand.stdin.flush()
        line = self.stagehand.stdout.readline()
        assert line, "the stagehand died; see its traceback above"
        return dict(json.loads(line))

    def deliver(self, *tags: list[str], pool: str = "toon") -> None:
        answer = self.order("deliver", slug=pool, tags=list(tags))
        assert answer == {"outcome": "ingested"}

    def available(self) -> int:
        return int(self.order("available")["count"])


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with _server(tmp_path_factory.mktemp("home"), {"CLAIMS_PER_MINUTE": "10000"}) as scene:
        yield scene


@pytest.fixture
def scene(running: Scene) -> Scene:
    """The server with one pool, an empty buffer and no worker."""
    running.order("clear")
    return running


@pytest.fixture
def strict_scene(tmp_path: Path) -> Iterator[Scene]:
    """A server of its own that grants two claims a minute."""
    with _server(tmp_path, {"CLAIMS_PER_MINUTE": "2"}) as scene:
        yield scene


class _server:
    """Starts server and stagehand on entry, ends both (and only them) on exit."""

    def __init__(self, home: Path, settings: dict[str, str]) -> None:
        self.port = _free_port()
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("STYLEDIFFUSER_")},
            "DJANGO_SETTINGS_MODULE": "webgui.config.settings",
            "STYLEDIFFUSER_HOME": str(home),
            # The doorbell rings nowhere; the stagehand does what the workers would.
            "STYLEDIFFUSER_BROKER_URL": "memory://",
            "STYLEDIFFUSER_LOG_LEVEL": "ERROR",
            **{f"STYLEDIFFUSER_{name}": value for name, value in settings.items()},
        }

    def __enter__(self) -> Scene:
        python = [sys.executable, "-m"]
        common: dict[str, Any] = {"cwd": REPO, "env": self.environment}
        self.stagehand = subprocess.Popen(
            [*python, "tests.e2e.stagehand"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **common,
        )
        scene = Scene(f"http://127.0.0.1:{self.port}", self.stagehand)
        assert self.stagehand.stdout and self.stagehand.stdout.readline()  # migrated
        serve = ["gunicorn", "webgui.config.wsgi", "--bind", f"127.0.0.1:{self.port}"]
        options = ["--threads", "4", "--log-level", "error", "--no-control-socket"]
        self.web = subprocess.Popen([*python, *serve, *options], **common)
        scene.order("pool", slug="toon", name="Toon heads")
        _wait_for(f"{scene.url}/healthz", self.web)
        return scene

    def __exit__(self, *error: object) -> None:
        for process in (self.web, self.stagehand):
            process.send_signal(signal.SIGTERM)
        for process in (self.web, self.stagehand):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (self.stagehand.stdin, self.stagehand.stdout):
            if pipe:
                pipe.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "the server did not start; see its log above"
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer within 20 s")


# Of one file: Playwright keeps an event loop in the main thread, under which Django refuses the
# database to the tests of other files.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, scene: Scene) -> Iterator[Callable[..., Any]]:
    """Open a page as a new visitor. At the end no console error may have been written.

    `visit("/", width=320, expect_refusal=True)`; other keywords go to the browser's context.
    """
    contexts: list[Any] = []
    errors: list[str] = []

    def open_page(
        path: str = "/",
        width: int = 1280,
        height: int = 800,
        expect_refusal: bool = False,
        **options: Any,
    ) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, base_url=scene.url, **options
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()

        def note(message: Any) -> None:
            # Chromium itself writes a line for each 4xx or 5xx answer to a script.
            refusal = "Failed to load resource" in message.text and expect_refusal
            if message.type in ("error", "warning") and not refusal:
                errors.append(message.text)

        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def keeper(scene: Any, visit: Any) -> Any:
    """Open a page as an administrator."""

    def open_page(path: str, **options: Any) -> Any:
        session = scene.order("staff")
        cookie = {"name": session["cookie"], "value": session["value"]}
        cookie |= {"path": "/", "domain": "127.0.0.1"}
        return visit(path, storage_state={"cookies": [cookie], "origins": []}, **options)

    return open_page
