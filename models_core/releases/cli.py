"""`release build`, `release verify`, `release sample`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from models_core.commands import group

DEMO = Path(__file__).parent / "demo"


def register(subparsers: Any) -> None:
    build = group(subparsers, "release").add_parser("build", help="make a bundle from a recipe")
    build.add_argument("recipe", type=Path, help="TOML: name, components, tags, params, licences")
    build.add_argument("out", type=Path, help="the bundle folder to write; must not exist")
    build.add_argument("--max-mib", type=int, default=40, help="refuse a larger bundle")
    build.set_defaults(run=run_build)

    verify = group(subparsers, "release").add_parser("verify", help="check every digest")
    verify.add_argument("bundle", type=Path, nargs="?", default=DEMO)
    verify.set_defaults(run=run_verify)

    sample = group(subparsers, "release").add_parser("sample", help="generate images from seeds")
    sample.add_argument("bundle", type=Path, nargs="?", default=DEMO)
    sample.add_argument("--out", type=Path, default=Path("samples"), help="folder for the PNGs")
    sample.add_argument("--seeds", type=int, default=8, help="how many seeds, from --first on")
    sample.add_argument("--first", type=int, default=0)
    sample.add_argument("--tag", action="append", default=[], help="a trait every image must have")
    sample.add_argument("--param", action="append", default=[], metavar="NAME=NUMBER")
    sample.add_argument("--device", help="cpu, cuda, …")
    sample.add_argument("--draft", action="store_true", help="keep 128x128, do not enlarge")
    sample.set_defaults(run=run_sample)


def run_build(args: argparse.Namespace) -> None:
    from models_core.releases.build import build_release, read_recipe

    bundle = build_release(args.out, limit=args.max_mib * 2**20, **read_recipe(args.recipe))
    size = sum(component["bytes"] for component in bundle.manifest["components"])
    print(f"{bundle.folder}: {bundle.digest}, {size:,} bytes")


def run_verify(args: argparse.Namespace) -> None:
    from models_core.releases.bundle import verify_release

    bundle = verify_release(args.bundle)
    files = len(bundle.manifest["components"])
    print(f"{bundle.manifest['title']}: {files} files as they should be\n{bundle.digest}")


def run_sample(args: argparse.Namespace) -> None:
    """Writes <seed>.png and prints seed, score, safety and tags of each."""
    from models_core.releases.loaded import open_release

    params = dict(_number(pair) for pair in args.param)
    release = open_release(args.bundle, args.device)
    started = time.perf_counter()
    seeds = range(args.first, args.first + args.seeds)
    drafts = release.generate(seeds, tags=args.tag, params=params)
    images = [draft.image for draft in drafts]
    scores, unsafe = release.score(images), release.safety(images)
    args.out.mkdir(parents=True, exist_ok=True)
    for image, draft in zip(images if args.draft else release.upscale(images), drafts, strict=True):
        image.save(args.out / f"{draft.seed}.png")
    for draft, score, safety in zip(drafts, scores, unsafe, strict=True):
        print(f"{draft.seed}  score {score:.2f}  unsafe {safety:.2f}  {', '.join(draft.tags)}")
    print(f"{(time.perf_counter() - started) / max(len(drafts), 1):.2f} s an image")


def _number(pair: str) -> tuple[str, int | float]:
    name, _, value = pair.partition("=")
    try:
        return name, int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        raise ValueError(f"--param {pair}: write NAME=NUMBER, such as steps=10") from None
