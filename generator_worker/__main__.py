"""`python -m generator_worker`: start one worker with the settings of the environment."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path
from typing import IO

# A plain SIGTERM would let Celery wait for the running batch however long it takes; as SIGQUIT
# it waits for the soft shutdown's time, then hands the batch back. Read by billiard at import.
os.environ["REMAP_SIGTERM"] = "SIGQUIT"
# A release has all its weights with it: nothing is ever looked up on the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# On a busy CPU, threads that spin while they wait for each other cost several times the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars make poor log lines


def main() -> int:
    from generator_worker.config import ConfigError

    try:
        from generator_worker.app import app, config
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    lock = _lock(config.home)
    if lock is None:
        print(
            f"Another worker runs with the folder {config.home}. Give each worker its own "
            "STYLEDIFFUSER_WORKER_HOME and STYLEDIFFUSER_WORKER_NAME.",
            file=sys.stderr,
        )
        return 2
    app.worker_main(
        [
            "worker",
            f"--hostname=generator@{config.worker_name}",
            "--loglevel=INFO",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
    return 0


def _lock(home: Path) -> IO[str] | None:
    """Hold the worker's folder. A record lock: the pool's child does not inherit it."""
    home.mkdir(parents=True, exist_ok=True)
    file = (home / "lock").open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


if __name__ == "__main__":
    sys.exit(main())
