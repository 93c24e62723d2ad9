"""What every test may rely on: a home folder of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The browser tests' Playwright keeps an event loop in the main thread, and one test process runs
# other files' database tests after them: Django would take those for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


@pytest.fixture
def home(tmp_path: Path, settings) -> Path:
    """The server's folders, empty."""
    settings.HOME = tmp_path
    settings.SFTP_ROOT = tmp_path / "sftp"
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.QUARANTINE_ROOT = tmp_path / "quarantine"
    settings.IMAGE_CACHE_ROOT = tmp_path / "cache" / "images"
    return tmp_path
