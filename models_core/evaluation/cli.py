"""`evaluate compare` and `evaluate truncation`."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_core.commands import group

if TYPE_CHECKING:
    from models_core.evaluation.recipe import Comparison


def register(subparsers: Any) -> None:
    compare = group(subparsers, "evaluate").add_parser(
        "compare", help="StyleDiffuser against each of its halves, in one table with pictures"
    )
    _add_common(compare)
    compare.add_argument("--rows", help="some rows only, such as real,stylegan2,stylediffuser-10")
    compare.set_defaults(run=run_compare)
    truncation = group(subparsers, "evaluate").add_parser(
        "truncation", help="the prototype alone at several ψ, against real crops of its resolution"
    )
    _add_common(truncation)
    truncation.add_argument(
        "--psi", type=float, nargs="+", default=[0.5, 0.7, 0.85, 1.0], help="truncations"
    )
    truncation.set_defaults(run=run_truncation)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path)
    parser.add_argument(
        "--run",
        dest="run_folder",
        type=Path,
        default=Path("runs/compare"),
        help="pictures and figures already made; the same command goes on from them",
    )
    parser.add_argument(
        "--out", type=Path, help="where the page goes (default: docs; with --quick the run)"
    )
    parser.add_argument("--quick", action="store_true", help="few pictures: minutes, not hours")
    parser.add_argument("--n", type=int, help="pictures a row, instead of the recipe's")
    parser.add_argument("--release", type=Path, help="another release than the recipe's")
    parser.add_argument("--device", help="cpu, cuda, …")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads")


def run_compare(args: argparse.Namespace) -> None:
    from models_core.evaluation.compare import compare
    from models_core.evaluation.recipe import chosen_rows

    compare(_comparison(args), chosen_rows(args.rows), **_places(args))
    print(f"{_out(args) / 'results.md'}, {_out(args) / 'results.json'}")


def run_truncation(args: argparse.Namespace) -> None:
    from models_core.evaluation.truncation import sweep

    sweep(_comparison(args), args.psi, **_places(args))
    print(f"{_out(args) / 'prototype.md'}, {_out(args) / 'prototype.json'}")


def _comparison(args: argparse.Namespace) -> Comparison:
    from dataclasses import replace

    from models_core.evaluation.recipe import Comparison

    comparison = Comparison.read(args.recipe)
    if args.release:
        comparison = replace(comparison, release=args.release)
    if args.n or args.quick:
        comparison = comparison.with_n(args.n or comparison.quick)
    return comparison


def _places(args: argparse.Namespace) -> dict[str, Any]:
    import torch

    return {
        "run": args.run_folder,
        "out": _out(args),
        "command": _command(args),
        "device": args.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        "threads": args.threads,
    }


def _out(args: argparse.Namespace) -> Path:
    return args.out or (args.run_folder / "quick" if args.quick else Path("docs"))


def _command(args: argparse.Namespace) -> str:
    """The command line that says the same, for the page it made."""
    what = "compare" if args.run is run_compare else "truncation"
    words = ["python", "-m", "models_core", "evaluate", what, str(args.recipe)]
    words += ["--quick"] if args.quick else []
    for name in ("n", "rows", "release", "device"):
        if (value := getattr(args, name, None)) is not None:
            words += [f"--{name}", str(value)]
    if psi := getattr(args, "psi", None):
        words += ["--psi", *map(str, psi)]
    return shlex.join(words)
