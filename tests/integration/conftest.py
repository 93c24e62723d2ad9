from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import tiny_release
from tests.integration.house import House


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny release, built once for all processes of the test run; the folder it lies in is
    the workers' release path."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shelf" / "tiny"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            tiny_release.build(folder)
    return folder


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Iterator[House]:
    """Broker, SFTP server, server's worker with beat, and one generator, all running."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("STYLEDIFFUSER_DATABASE_URL", "")
        patch.setenv("STYLEDIFFUSER_RELEASES", str(bundle.parent))
        patch.setenv("STYLEDIFFUSER_BATCHES_PER_WORKER", "4")
        patch.setenv("STYLEDIFFUSER_JOB_SILENCE_SECONDS", "20")
        patch.setenv("STYLEDIFFUSER_LOG_FORMAT", "json")
        patch.setenv("STYLEDIFFUSER_AVATAR_SIZE", "128")  # what the tiny release draws
        house = House(tmp_path_factory.mktemp("home"))
        try:
            house.start("broker", "generator", "sftp")
            house.manage("migrate", "--verbosity", "0")
            house.start("server", "ingest")
            yield house
        finally:
            house.end()
