"""A release, a pool, workers, deliveries: real rows and real files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import caches

from tests.webgui.making import make_pool, make_worker
from webgui.accounts import allowance
from webgui.buffer import wishes
from webgui.buffer.models import Pool
from webgui.fleet.models import Worker


@pytest.fixture
def pool(db: None, home: object) -> Pool:
    return make_pool()


@pytest.fixture
def worker(db: None) -> Worker:
    return make_worker()


@pytest.fixture(autouse=True)
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict, str]]:
    """Messages that would have gone to the broker: (task, message, queue)."""
    messages: list[tuple[str, dict, str]] = []

    def send_task(
        task: str, *, kwargs: dict, queue: str, retry: bool, headers: dict[str, str]
    ) -> None:
        messages.append((task, kwargs["message"], queue))

    from webgui.config.celery import app

    monkeypatch.setattr(app, "send_task", send_task)
    return messages


@pytest.fixture(autouse=True)
def no_pool_of_another_test() -> None:
    wishes._lately.clear()


@pytest.fixture(autouse=True)
def fresh_counters(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No client has spent anything when a test begins."""
    monkeypatch.setattr(allowance, "_shared", allowance._Shared())
    for name in ("default", "own"):
        caches[name].clear()
    yield
    for name in ("default", "own"):
        caches[name].clear()
