"""What the pool's child process tells the main one, which sends the heartbeats.

The main process must not import torch, so the child leaves these few figures in a file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from generator_worker.disk import replace


@dataclass(frozen=True)
class Vitals:
    device: str = "starting"
    memory_bytes: int = 0
    loaded: tuple[str, ...] = ()
    images_per_minute: float = 0.0
    """Speed of the last batch, from order to spool."""

    @classmethod
    def read(cls, path: Path) -> Self:
        try:
            found = json.loads(path.read_bytes())
            return cls(**{**found, "loaded": tuple(found["loaded"])})
        except (OSError, ValueError, TypeError, KeyError):
            return cls()

    def write(self, path: Path) -> None:
        replace(path, json.dumps(asdict(self)).encode())
