"""`data build` and `data show`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from models_core.commands import CommandError, group

STAGES = ("collect", "crop", "super-resolve", "prune", "write")


def register(subparsers: Any) -> None:
    build = group(subparsers, "data").add_parser(
        "build",
        help="build a data set from a recipe",
        description="Build a data set from a recipe, or go on where an earlier build stopped.",
    )
    build.add_argument("recipe", type=Path)
    build.add_argument("--out", type=Path, help="folder (default: data/<name>)")
    build.add_argument("--count", type=int, help="override the recipe's count")
    build.add_argument("--processes", type=int, default=2)
    build.add_argument("--until", choices=STAGES, default="write", help="the last stage to run")
    build.add_argument(
        "--redo", action="store_true", help="the recipe was changed: redo what that changes"
    )
    build.set_defaults(run=run_build)

    show = group(subparsers, "data").add_parser(
        "show", help="what each stage of a build took, kept and dropped, and where to look"
    )
    show.add_argument("folder", type=Path)
    show.set_defaults(run=run_show)


def run_build(args: argparse.Namespace) -> int:
    from models_core.data.build import build
    from models_core.data.recipe import Recipe

    recipe = Recipe.read(args.recipe)
    if args.count is not None:
        if args.count < 1:
            raise CommandError("--count must be a number from 1")
        recipe = recipe.with_count(args.count)
    out = args.out or Path("data") / recipe.name
    with _Bars() as bars:
        build(
            recipe,
            out,
            processes=args.processes,
            until=args.until,
            redo=args.redo,
            progress=bars,
        )
    return run_show(argparse.Namespace(folder=out))


class _Bars:
    """A progress bar for each stage, one after the other."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Any = None

    def __call__(self, stage: str, done: int, of: int) -> None:
        from tqdm import tqdm

        if stage != self._stage:
            self.close()
            self._stage, self._bar = stage, tqdm(total=of, unit="img", desc=f"{stage:>13}")
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_show(args: argparse.Namespace) -> int:
    from models_core.data.build import stage_summaries

    summaries = stage_summaries(args.folder)
    whole = args.folder / "dataset.json"
    if not summaries and not whole.exists():
        raise CommandError(f"{args.folder} holds no build: python -m models_core data build RECIPE")
    for name, summary in summaries.items():
        print(f"{name:>13}: {summary['kept']} of {summary['taken']} kept")
        for reason, count in summary["dropped"].items():
            print(f"{'':>15}{count} dropped: {reason}")
        for sheet in sorted((args.folder / "stages" / name).glob("*.jpg")):
            print(f"{'':>15}look at {sheet}")
    if whole.exists():
        print(f"{'data set':>13}: {json.loads(whole.read_text())['counts']}")
    return 0
