"""What the pool's child process tells the main one, which sends the heartbeats.

The main process must not import torch, so the child leaves these few figures in a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from generator_worker.disk import replace


class Vitals(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    device: str = ""
    """Empty until the child knows."""
    memory_bytes: int = 0
    loaded: tuple[str, ...] = ()
    images_per_minute: float = 0.0
    """Kept ones; of the last batch, from order to spool."""
    speeds: dict[str, float] = {}
    """Release: images drawn a second, in the last batch of it."""
    busy: bool = False
    memory_used_bytes: int = 0
    """By this process on its device: the GPU's memory, or else the host's."""
    trouble: str = ""
    """What went wrong when the child started."""
    link: str = ""
    """Why the last delivery did not reach the server; empty since one did."""
    pid: int = 0

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return cls()

    @classmethod
    def start(cls, path: Path) -> None:
        """A worker starts. The speeds last measured are a better guess than none; the rest is of a
        process that is gone."""
        before = cls.read(path)
        cls(images_per_minute=before.images_per_minute, speeds=before.speeds).write(path)

    @property
    def outlived(self) -> bool:
        """Whether the process that wrote this is gone, and its successor is not up yet."""
        if not self.pid:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and somebody else's
        return False

    def write(self, path: Path) -> None:
        replace(path, self.model_dump_json().encode())
