from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.sftp_host import SftpHost, sftp_host


@pytest.fixture(scope="module")
def host() -> Iterator[SftpHost]:
    with sftp_host() as started:
        yield started
