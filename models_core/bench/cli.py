"""`bench`: measure the models' speed and memory, and write the table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

# Each is a module beside this one with `cases() -> list[Case]` and a `TITLE`.
SECTIONS = {
    "stylegan2": "the prototype: samples and training images a second",
    "stylediffuser": "the whole pipeline: pictures a second, and its overhead",
}


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench", help="measure speed and memory, and write docs/benchmarks-models.md"
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"default: all ({', '.join(SECTIONS)})"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks-models.md"))
    parser.add_argument("--repeats", type=int, default=5, help="the median is reported")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each measurement")
    parser.add_argument(
        "--patience", type=float, default=600, help="seconds that a variant may take to get ready"
    )
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.set_defaults(run=run_bench)


def run_bench(args: argparse.Namespace) -> None:
    import importlib

    from models_core.bench.cases import measure
    from models_core.bench.table import write

    names = args.sections or list(SECTIONS)
    if unknown := [name for name in names if name not in SECTIONS]:
        raise ValueError(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    if args.repeats < 1 or args.threads < 1:
        raise ValueError("--repeats and --threads must be at least 1")
    for name in names:
        section = importlib.import_module(f"models_core.bench.{name}")
        for case in section.cases():
            if args.only in case.name:
                rows = measure(case, args.repeats, args.threads, args.patience)
                write(args.out, name, section.TITLE, case, rows, args.repeats, args.threads)
    print(f"{args.out} and {args.out.with_suffix('.json')} are written")
