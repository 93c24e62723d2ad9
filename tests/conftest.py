"""What every test may rely on: a home folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, settings) -> Path:
    """The server's folders, empty."""
    settings.HOME = tmp_path
    settings.SFTP_ROOT = tmp_path / "sftp"
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.QUARANTINE_ROOT = tmp_path / "quarantine"
    settings.UPLOAD_ROOT = tmp_path / "uploads"
    settings.IMAGE_CACHE_ROOT = tmp_path / "cache" / "images"
    return tmp_path
