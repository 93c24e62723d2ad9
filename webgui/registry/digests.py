"""SHA-256 of each upload's acknowledged bytes, kept in this process between its requests.

A hash under way cannot be written down, so a process that has not seen an upload before reads
what is on disk once and then keeps up. Every process hashes each byte at most once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from typing import Any
from uuid import UUID

KEPT = 64  # uploads; others are read again
PIECE = 2**20

_running: OrderedDict[UUID, tuple[int, Any]] = OrderedDict()
_lock = threading.Lock()


def resume(upload_id: UUID, fd: int, offset: int) -> Any:
    """The hash of the file's first `offset` bytes, to be updated with what follows them."""
    with _lock:
        at, running = _running.get(upload_id, (0, None))
    if running is None or at > offset:
        at, running = 0, hashlib.sha256()
    running = running.copy()
    while at < offset:
        piece = os.pread(fd, min(PIECE, offset - at), at)
        if not piece:
            raise OSError(f"The file of upload {upload_id} has {at} bytes, not {offset}.")
        running.update(piece)
        at += len(piece)
    return running


def keep(upload_id: UUID, offset: int, running: Any) -> None:
    with _lock:
        _running[upload_id] = (offset, running)
        _running.move_to_end(upload_id)
        while len(_running) > KEPT:
            _running.popitem(last=False)


def forget(upload_id: UUID) -> None:
    with _lock:
        _running.pop(upload_id, None)
