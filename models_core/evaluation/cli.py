"""`evaluate compare`."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from models_core.commands import group


def register(subparsers: Any) -> None:
    compare = group(subparsers, "evaluate").add_parser(
        "compare", help="StyleDiffuser against each of its halves, in one table with pictures"
    )
    compare.add_argument("recipe", type=Path)
    compare.add_argument(
        "--run",
        dest="run_folder",
        type=Path,
        default=Path("runs/compare"),
        help="pictures and figures already made; the same command goes on from them",
    )
    compare.add_argument(
        "--out", type=Path, help="where results.md goes (default: docs; with --quick the run)"
    )
    compare.add_argument("--quick", action="store_true", help="few pictures: minutes, not hours")
    compare.add_argument("--n", type=int, help="pictures a row, instead of the recipe's")
    compare.add_argument("--rows", help="some rows only, such as real,stylegan2,stylediffuser-10")
    compare.add_argument("--release", type=Path, help="another release than the recipe's")
    compare.add_argument("--device", help="cpu, cuda, …")
    compare.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads")
    compare.set_defaults(run=run_compare)


def run_compare(args: argparse.Namespace) -> None:
    from dataclasses import replace

    import torch

    from models_core.evaluation.compare import compare
    from models_core.evaluation.recipe import Comparison, chosen_rows

    comparison = Comparison.read(args.recipe)
    if args.release:
        comparison = replace(comparison, release=args.release)
    if args.n or args.quick:
        comparison = comparison.with_n(args.n or comparison.quick)
    out = args.out or (args.run_folder / "quick" if args.quick else Path("docs"))
    compare(
        comparison,
        chosen_rows(args.rows),
        args.run_folder,
        out,
        command=_command(args),
        device=args.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        threads=args.threads,
    )
    print(f"{out / 'results.md'}, {out / 'results.json'}")


def _command(args: argparse.Namespace) -> str:
    """The command line that says the same, for the page it made."""
    words = ["python", "-m", "models_core", "evaluate", "compare", str(args.recipe)]
    words += ["--quick"] if args.quick else []
    for name in ("n", "rows", "release", "device"):
        if (value := getattr(args, name)) is not None:
            words += [f"--{name}", str(value)]
    return shlex.join(words)
