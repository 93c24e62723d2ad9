"""`python -m tests.bench [NAME …]`: measure, print the table, and write it."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import table
from tests.bench.rows import Row, Size

BENCHES = ("day", "shipping", "ingest", "claims", "images", "peer", "million", "memory")
"""Modules beside this one with `run(folder, size) -> list[Row]`, the quickest first."""


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    rows: list[Row] = []
    for name in args.names or BENCHES:
        began = time.monotonic()
        found = measure(name, Size(args.small))
        rows += found
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        print(table.as_text(found), flush=True)
        if args.out:
            table.write(args.out, BENCHES, name, found, time.monotonic() - began)
    broken = [row.name for row in rows if not row.holds]
    for row in broken:
        print(f"Bar broken: {row}", file=sys.stderr)
    return 1 if broken else 0


def measure(name: str, size: Size) -> list[Row]:
    bench = importlib.import_module(f"tests.bench.{name}")
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as folder:
        found: list[Row] = bench.run(Path(folder), size)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help="default: all")
    parser.add_argument("--out", type=Path, help="a page such as docs/benchmarks.md, and its JSON")
    parser.add_argument("--small", action="store_true", help="tiny: whether the benches work")
    return parser


if __name__ == "__main__":
    sys.exit(main())
