"""`python -m generator_worker`: start one worker with the settings of the environment, check what
it needs (`preflight`), or let it try faulty releases again (`forgive`)."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generator_worker.heartbeat import Pulse

# A plain SIGTERM would let Celery wait for the running batch however long it takes; as SIGQUIT
# it waits for the soft shutdown's time, then hands the batch back. Read by billiard at import.
os.environ["REMAP_SIGTERM"] = "SIGQUIT"
# A release has all its weights with it: nothing is ever looked up on the network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# On a busy CPU, threads that spin while they wait for each other cost several times the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars make poor log lines


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    from generator_worker.config import ConfigError

    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        import generator_worker.app  # noqa: F401 - reads the settings

        return command(arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m generator_worker",
        description="Start a generator worker, with the settings of the environment "
        "(STYLEDIFFUSER_…), or look after one.",
    )
    parser.set_defaults(command=_work)
    commands = parser.add_subparsers(title="commands")
    preflight = commands.add_parser(
        "preflight", help="check all that a worker needs; exit code 1 if it could not work"
    )
    preflight.add_argument("--json", action="store_true", help="a JSON object a line")
    preflight.add_argument(
        "--seconds", type=float, default=120, help="how long to go on loading releases"
    )
    preflight.set_defaults(command=_preflight)
    forgive = commands.add_parser(
        "forgive", help="let releases that are faulty on this worker be tried again"
    )
    forgive.add_argument("digest", nargs="?", default="", help="its beginning; without it: all")
    forgive.set_defaults(command=_forgive)
    return parser


def _preflight(arguments: argparse.Namespace) -> int:
    from generator_worker import preflight, readiness
    from generator_worker.app import config
    from generator_worker.parentage import die_with_parent

    if arguments.json:
        die_with_parent()  # a starting worker's
    failed = False
    for finding in preflight.examine(config, arguments.seconds):
        failed |= finding.level == "failure"
        text = finding.model_dump_json() if arguments.json else readiness.line(finding)
        print(text, flush=True)
    if arguments.json:
        print(json.dumps({"done": True}), flush=True)
    elif failed:
        print("\nThis worker cannot work yet.")
    else:
        print(f"\nWorker {config.worker_name} can work.")
    return int(failed)


def _forgive(arguments: argparse.Namespace) -> int:
    from generator_worker.app import faulty

    book = faulty()
    chosen = [
        fault.release_digest
        for fault in book.listed()
        if fault.release_digest.startswith(arguments.digest)
    ]
    for digest in chosen:
        book.forgive(digest)
        print(f"Release {digest[:12]} is tried again with the next order for it.")
    if not chosen:
        print("There is no such faulty release on this worker.", file=sys.stderr)
    return int(not chosen)


def _work(arguments: argparse.Namespace) -> int:
    from generator_worker.app import app, config
    from generator_worker.readiness import look_apart
    from messaging import logs

    lock = _lock(config.home)
    if lock is None:
        print(
            f"Another worker runs with the folder {config.home}. Give each worker its own "
            "STYLEDIFFUSER_WORKER_HOME and STYLEDIFFUSER_WORKER_NAME.",
            file=sys.stderr,
        )
        return 2
    logs.set_up(config.log_level, config.log_format)
    pulse = _pulse()
    # As a container's first process nothing else would end it; Celery has its own way later.
    signal.signal(signal.SIGTERM, _leave)
    pulse.readiness.wait(look_apart, pulse.wake)
    app.worker_main(
        [
            "worker",
            f"--hostname=generator@{config.worker_name}",
            f"--loglevel={config.log_level}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
    return 0


def _pulse() -> Pulse:
    """What tells of this worker, started: heartbeats, and metrics where they are wanted."""
    from generator_worker.app import app, config, duty, faulty, ledger, outbox, reports
    from generator_worker.config import ConfigError
    from generator_worker.heartbeat import Pulse
    from generator_worker.readiness import Readiness
    from generator_worker.vitals import Vitals

    ledger().clear()
    Vitals.start(config.home / "vitals.json")
    pulse = Pulse(config, outbox(), reports(app), Readiness(), (duty(), faulty(), ledger()))
    if config.metrics_port:
        from generator_worker import metrics

        try:
            metrics.serve(config.metrics_host, config.metrics_port, pulse.beat, ledger())
        except OSError as error:
            where = f"{config.metrics_host}:{config.metrics_port}"
            raise ConfigError(f"STYLEDIFFUSER_METRICS_PORT: {where}: {error}") from error
    pulse.start()
    return pulse


def _leave(*_: Any) -> None:
    """Stopped before it took any work."""
    sys.exit(0)


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
