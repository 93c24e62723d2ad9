from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import tiny_release
from tests.integration.house import House


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny release; the folder it lies in is the workers' release path."""
    folder = tmp_path_factory.mktemp("releases") / "shelf" / "tiny"
    folder.parent.mkdir()
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
        house = House(tmp_path_factory.mktemp("home"))
        try:
            house.start("broker", "generator", "sftp")
            house.manage("migrate", "--verbosity", "0")
            house.start("server")
            yield house
        finally:
            house.end()
