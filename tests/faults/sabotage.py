"""Places at which a process of the rig dies when asked to. The product knows nothing of them.

The rig starts the ingest worker as `celery -A tests.faults.sabotaged_ingest` and the web server
as `gunicorn tests.faults.sabotaged_web:application`, which are the product's own plus a look for
a file at each place. Whoever finds it there kills its parent and itself, once.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

FOLDER = "FAULTS_SABOTAGE"


class Sabotage:
    """The rig's side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def arm(self, place: str) -> None:
        (self.folder / place).touch()

    def sprung(self, place: str) -> bool:
        return not (self.folder / place).exists()

    def disarm(self) -> None:
        for flag in self.folder.iterdir():
            flag.unlink(missing_ok=True)


def die_if_armed(place: str) -> None:
    """The victim's side."""
    try:
        (Path(os.environ[FOLDER]) / place).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
