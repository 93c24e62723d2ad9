"""`python -m tests.faults`: every fault, on real processes, in rounds. Exits 1 if a bar breaks."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import ready, report, scenarios  # noqa: F401 (two are for what they set up)
from tests.faults.fault import FAULTS, Fault
from tests.faults.ground import Ground
from tests.faults.rig import Rig
from tests.faults.scene import Stage
from tests.integration import tiny_release

ROOT = Path(__file__).resolve().parents[2]
JSON, DOCS = ROOT / "var" / "faults.json", ROOT / "docs" / "reliability.md"
GROUNDS: dict[str, Callable[[], Ground]] = {"demo": Ground.demo, "production": Ground.production}


def main() -> int:
    arguments = _arguments()
    if arguments.docs:
        report.write_docs(DOCS, json.loads(arguments.json.read_text()))
        return 0
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for number in (signal.SIGTERM, signal.SIGINT):  # so that nothing is left running or mounted
        signal.signal(number, lambda *_: sys.exit("Stopped."))
    faults = [FAULTS[name] for name in _chosen(arguments)]
    rounds: list[report.Round] = []
    with _base(arguments.keep) as base:
        print("Building a tiny release …", flush=True)
        bundle = base / "shelf" / "tiny"
        bundle.parent.mkdir()
        tiny_release.build(bundle)
        for number in range(1, arguments.rounds + 1):
            name = arguments.ground or ("demo", "production")[(number - 1) % 2]
            rounds.append(_round(number, GROUNDS[name](), base, bundle, faults))
            report.write_json(arguments.json, rounds)
    for played in rounds:
        print("\n" + report.table(played))
    held = all(played.holds for played in rounds)
    print(f"\n{'Every bar holds' if held else 'A BAR IS BROKEN'}; {arguments.json}")
    return 0 if held else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), metavar="FAULT", default=[])
    parser.add_argument("--fast", action="store_true", help="the half that CI runs each time")
    parser.add_argument("--ground", choices=GROUNDS, help="instead of both in turn")
    parser.add_argument("--json", type=Path, default=JSON)
    parser.add_argument("--keep", action="store_true", help="keep the processes' homes and logs")
    parser.add_argument("--docs", action="store_true", help="only write the page's table anew")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        for fault in FAULTS.values():
            print(f"{fault.name:<38} {fault.bar_words:<10} {fault.what}")
        sys.exit()
    return arguments


def _chosen(arguments: argparse.Namespace) -> list[str]:
    """In the order of play; the undisturbed batch first, since it measures T."""
    wanted = set(arguments.only) or {
        f.name for f in FAULTS.values() if f.fast or not arguments.fast
    }
    return [name for name in FAULTS if name in wanted | {"undisturbed"}]


@contextmanager
def _base(keep: bool) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        yield base
    finally:
        if keep:
            print(f"Kept: {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)


def _round(
    number: int, ground: Ground, base: Path, bundle: Path, faults: list[Fault]
) -> report.Round:
    played = report.Round(number, str(ground))
    began = time.monotonic()
    print(f"Round {number} on {ground}: starting all processes …", flush=True)
    rig = Rig(base / f"home-{number}", bundle, ground)
    try:
        stage = Stage(rig)
        stage.open()
        for fault in faults:
            outcome = stage.play(fault)
            played.outcomes.append(outcome)
            played.batch_seconds = stage.batch_seconds
            print(report.line(outcome), flush=True)
    finally:
        rig.end()
    minutes = (time.monotonic() - began) / 60
    print(f"Round {number} took {minutes:.1f} minutes", flush=True)
    return played


if __name__ == "__main__":
    sys.exit(main())
