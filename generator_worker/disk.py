"""Writing files so that they survive a crash: whole, or not there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and force it to disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Force a folder's entries (creations, renames, removals) to disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace(path: Path, data: bytes) -> None:
    """Put `data` at `path`: readers see the old content or the new, never a part."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    write_synced(fresh, data)
    fresh.replace(path)
    sync_folder(path.parent)


def free(folder: Path) -> int:
    """Bytes that may still be written where the folder is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
