"""`python -m models_core data …`"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from models_core.commands import group


def register(subparsers: Any) -> None:
    build = group(subparsers, "data").add_parser("build", help="build a data set from a recipe")
    build.add_argument("recipe", type=Path)
    build.add_argument("--out", type=Path, help="folder (default: data/<name>)")
    build.add_argument("--count", type=int, help="override the recipe's count")
    build.add_argument("--processes", type=int, default=2)
    build.set_defaults(run=run_build)


def run_build(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from models_core.data.build import build
    from models_core.data.recipe import Recipe

    recipe = Recipe.read(args.recipe)
    if args.count:
        recipe = recipe.with_count(args.count)
    with tqdm(total=recipe.count, unit="img", desc=recipe.name) as bar:
        summary = build(
            recipe,
            args.out or Path("data") / recipe.name,
            processes=args.processes,
            progress=lambda done, of: bar.update(done - bar.n) and None,
        )
    print(summary["counts"], f"{summary['duplicates']} duplicates dropped")
    return 0
