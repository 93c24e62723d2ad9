"""`sample stylediffuser`, `sample fusion`, `sample variations`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_core.commands import group

if TYPE_CHECKING:
    from models_core.stylediffuser.opened import Opened

DEMO = Path(__file__).parents[1] / "releases" / "demo"
SUBJECT = "a seed, or a picture's file (with --encoder)"


def register(subparsers: Any) -> None:
    sample = group(subparsers, "sample")
    drawn = _new(sample, "stylediffuser", "a sheet of avatars from seeds", run_stylediffuser)
    drawn.add_argument("--seeds", default="0-23", help="numbers and ranges, such as 0-47,99")
    drawn.add_argument("--prototypes", action="store_true", help="each one's prototype above it")
    drawn.add_argument("--columns", type=int, default=8)

    fused = _new(sample, "fusion", "two avatars or pictures to one with traits of both", run_fusion)
    fused.add_argument("first", metavar="FIRST", help=SUBJECT)
    fused.add_argument("second", metavar="SECOND", help=SUBJECT)
    fused.add_argument("--frames", type=int, default=7, help="pictures from first to second")
    fused.add_argument("--seed", type=int, default=0, help="of the noise, the same for all")
    fused.add_argument("--encoder", type=Path, help="an encoder's folder, to read pictures")

    varied = _new(sample, "variations", "an avatar or picture, drawn anew", run_variations)
    varied.add_argument("subject", metavar="SUBJECT", help=SUBJECT)
    varied.add_argument("--seeds", default="0-7", help="one variation each")
    varied.add_argument("--encoder", type=Path, help="an encoder's folder, to read pictures")


def _new(sample: Any, name: str, text: str, run: Any) -> Any:
    parser = sample.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--model", type=Path, default=DEMO, help="a release or pipeline folder (the shipped one)"
    )
    parser.add_argument("--tags", default="", help='of what seeds draw: "pink hair, smiling"')
    parser.add_argument("--steps", type=int, help="default: the release's, else 10")
    parser.add_argument("--strength", type=float, help="share of the noise schedule to run")
    parser.add_argument("--truncation", type=float, help="psi of the prototype")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance; 1 is none")
    parser.add_argument("--adapter-scale", type=float, help="0 switches the adapter off")
    parser.add_argument("--style-scale", type=float, help="0 switches the style tokens off")
    parser.add_argument("--scheduler", help="euler, euler-ancestral, heun, dpm++ or ddim")
    parser.add_argument("--device", help="cpu, cuda, … (CUDA where there is one)")
    parser.add_argument("--out", type=Path, default=Path(f"{name}.png"), help="the sheet")
    parser.set_defaults(run=run)
    return parser


def run_stylediffuser(args: argparse.Namespace) -> None:
    from models_core.stylegan2.sample import parse_seeds

    opened, seeds = _open(args), parse_seeds(args.seeds)
    if args.columns < 1:
        raise ValueError(f"--columns must be at least 1, not {args.columns}")
    tags = [opened.traits(seed, _tags(args)) for seed in seeds]
    drawn = opened.pipeline(
        seeds, tags, prefix=opened.prefix, callback=_progress, **opened.parameters
    )
    rows = []
    for start in range(0, len(seeds), args.columns):
        part = slice(start, start + args.columns)
        if args.prototypes:
            rows.append(drawn.prototypes[part])
        rows.append(drawn.images[part])
    _write(rows, args.out, opened.size)


def run_fusion(args: argparse.Namespace) -> None:
    if args.frames < 2:
        raise ValueError(f"--frames must be at least 2, not {args.frames}")
    opened = _open(args)
    fusion = opened.fusion(args.encoder)
    first, second = (opened.subject(text, _tags(args)) for text in (args.first, args.second))
    shares = [i / (args.frames - 1) for i in range(args.frames)]
    drawn = fusion.fuse(first, second, shares, seed=args.seed, callback=_progress)
    _write([drawn.images], args.out, opened.size)


def run_variations(args: argparse.Namespace) -> None:
    from models_core.stylediffuser.pipeline import to_images
    from models_core.stylegan2.sample import parse_seeds

    opened = _open(args)
    fusion = opened.fusion(args.encoder)
    subject = opened.subject(args.subject, _tags(args))
    drawn = fusion.vary(subject, parse_seeds(args.seeds), callback=_progress)
    original = to_images(fusion.know(subject, redrawn=True).picture)
    _write([[*original, *drawn.images]], args.out, opened.size)


def _open(args: argparse.Namespace) -> Opened:
    from models_core.stylediffuser.opened import open_folder

    names = ("steps", "strength", "truncation", "guidance", "adapter_scale", "style_scale")
    asked = {name: getattr(args, name) for name in (*names, "scheduler")}
    given = {name: value for name, value in asked.items() if value is not None}
    return open_folder(args.model, given, args.device)


def _tags(args: argparse.Namespace) -> list[str]:
    return [tag.strip() for tag in args.tags.split(",") if tag.strip()]


def _progress(done: int, of: int) -> None:
    end = "\n" if done == of else ""
    print(f"\r{done} of {of} steps", end=end, file=sys.stderr, flush=True)


def _write(rows: list[Any], out: Path, size: int) -> None:
    import numpy as np

    from models_core.data.dataset import contact_sheet

    columns = max(len(row) for row in rows)
    blank = np.full((size, size, 3), 255, np.uint8)
    cells = []
    for row in rows:
        cells += [np.asarray(image.resize((size, size))) for image in row]
        cells += [blank] * (columns - len(row))
    out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(np.stack(cells), columns).save(out)
    print(f"{sum(map(len, rows))} pictures → {out}")
