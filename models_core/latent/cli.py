"""`sample mixing`, `sample interpolation`, `sample region`, `project`, `evaluate encoder`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_core.commands import group

if TYPE_CHECKING:
    from models_core.latent.encoder import Encoder
    from models_core.latent.space import LatentSpace

SOURCES = "seeds (0-3,8), files of face crops, or .npz files of `project`"


def register(subparsers: Any) -> None:
    sample = group(subparsers, "sample")
    _register_mixing(sample)
    _register_interpolation(sample)
    _register_region(sample)
    _register_project(subparsers)
    _register_evaluation(group(subparsers, "evaluate"))


def _new(subparsers: Any, name: str, text: str, run: Any, *, sources: bool = True) -> Any:
    parser = subparsers.add_parser(name, help=text, description=text)
    parser.add_argument("generator", type=Path, help="a checkpoint or prototype folder")
    parser.add_argument("--encoder", type=Path, help="an encoder's folder, to read pictures")
    parser.add_argument("--tags-from", type=Path, help="dataset.json or release.json of its tags")
    parser.add_argument("--device", default="cpu")
    if sources:
        parser.add_argument("--tags", default="", help='of what seeds draw: "pink hair, smiling"')
        parser.add_argument("--truncation", type=float, default=0.85, help="psi; 1 is none")
        parser.add_argument("--scale", type=int, default=1, help="enlarge what is written")
    parser.set_defaults(run=run)
    return parser


def _register_mixing(sample: Any) -> None:
    parser = _new(sample, "mixing", "a grid: rows' pictures in the columns' styles", run_mixing)
    parser.add_argument("--rows", nargs="+", default=["0-5"], metavar="SOURCE", help=SOURCES)
    parser.add_argument("--columns", nargs="+", default=["6-13"], metavar="SOURCE", help=SOURCES)
    parser.add_argument(
        "--layers", default="coarse", help="coarse, middle, fine, or numbers such as 0-2,7"
    )
    parser.add_argument("--out", type=Path, default=Path("mixing.png"))


def _register_interpolation(sample: Any) -> None:
    text = "from one picture to the next: a strip and an animation"
    parser = _new(sample, "interpolation", text, run_interpolation)
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=SOURCES)
    parser.add_argument(
        "--path",
        choices=("w", "z", "near"),
        default="w",
        help="linear in w; spherical in z (seeds alone); or in w from one seed to a near neighbour",
    )
    parser.add_argument("--alpha", type=float, help="how near: the distance of w's (measured)")
    parser.add_argument("--frames", type=int, help="from one to the next (24; near: 7)")
    parser.add_argument("--loop", action="store_true", help="and back to the first")
    parser.add_argument("--fps", type=float, default=12)
    parser.add_argument("--strip", type=Path, default=Path("way.png"))
    parser.add_argument("--columns", type=int, default=12, help="pictures in a row of the strip")
    parser.add_argument("--out", type=Path, help=".webp, .gif, .png or .webm")


def _register_region(sample: Any) -> None:
    text = "a picture with hair, eyes or what a mask shows from others"
    parser = _new(sample, "region", text, run_region)
    parser.add_argument("--base", required=True, metavar="SOURCE", help="what is changed")
    parser.add_argument("--style", required=True, nargs="+", metavar="SOURCE", help="taken from")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--mask", type=Path, help="a picture of the base's size, white where to mix")
    which.add_argument("--region", help="found by a tag group's name, such as hair or eyes")
    parser.add_argument("--style-encoder", type=Path, help="reads what is inside the mask")
    parser.add_argument("--layers", help="without a style encoder: whose w is taken (all)")
    parser.add_argument("--out", type=Path, default=Path("region"), help="a folder")


def _register_project(subparsers: Any) -> None:
    text = "find the w whose drawing is most like a picture"
    parser = _new(subparsers, "project", text, run_project, sources=False)
    parser.add_argument("images", nargs="+", type=Path, help="square face crops")
    _add_optimization(parser, steps=0)
    parser.add_argument("--out", type=Path, default=Path("projection"), help="a folder")


def _register_evaluation(evaluate: Any) -> None:
    text = "reconstruction errors on own samples and on a data set's held-out crops"
    parser = _new(evaluate, "encoder", text, run_evaluation, sources=False)
    parser.add_argument("--data", type=Path, required=True, help="a built data set")
    parser.add_argument("--split", default="test", choices=("validation", "test"))
    parser.add_argument("--count", type=int, default=128, help="pictures of each kind")
    _add_optimization(parser, steps=100)
    parser.add_argument("--out", type=Path, help="write the figures as JSON, and a sheet beside")


def _add_optimization(parser: Any, steps: int) -> None:
    parser.add_argument(
        "--steps", type=int, default=steps, help="of optimisation on top (0: the encoder alone)"
    )
    parser.add_argument("--space", choices=("w", "w+"), default="w+", help="that is optimised in")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--stay", type=float, default=0.02, help="weight of the way from the start")
    parser.add_argument("--judge", help="a critic's folder or efficientnet-lite0, for its features")
    parser.add_argument("--judge-weight", type=float, default=1.0)


def run_mixing(args: argparse.Namespace) -> None:
    from models_core.data.dataset import contact_sheet
    from models_core.latent.animation import enlarged
    from models_core.latent.mixing import mixing_grid, parse_layers

    space, encoder = _open(args)
    layers = parse_layers(args.layers, space.generator)
    reader = _reader(args, space, encoder)
    rows, columns = reader.read(args.rows), reader.read(args.columns)
    grid = mixing_grid(
        space,
        rows.ws,
        columns.ws,
        layers,
        row_pictures=rows.pictures,
        column_pictures=columns.pictures,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(enlarged(grid, args.scale), len(columns) + 1).save(args.out)
    print(f"{len(rows)}×{len(columns)} mixes, layers {layers} of the columns → {args.out}")


def run_interpolation(args: argparse.Namespace) -> None:
    from models_core.data.dataset import contact_sheet
    from models_core.latent.animation import check_animation, enlarged, save_animation

    if args.columns < 1:
        raise ValueError(f"--columns must be at least 1, not {args.columns}")
    if args.out:
        check_animation(args.out, args.fps)
    space, encoder = _open(args)
    frames = enlarged(space.draw(_way(args, space, encoder)), args.scale)
    args.strip.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(frames, min(args.columns, len(frames))).save(args.strip)
    print(f"{len(frames)} frames → {args.strip}")
    if args.out:
        save_animation(frames, args.out, args.fps)
        print(f"{len(frames)} frames at {args.fps:g} a second → {args.out}")


def _way(args: argparse.Namespace, space: LatentSpace, encoder: Encoder | None) -> Any:
    """ws [T, num_ws, w_dim] of the interpolation asked for."""
    from models_core.latent.interpolation import (
        NEAR_STEPS,
        check_frames,
        near_neighbours,
        through,
        through_seeds,
    )
    from models_core.stylegan2.sample import parse_seeds

    tags, psi = _tags(args), args.truncation
    frames = args.frames or (NEAR_STEPS if args.path == "near" else 24)
    check_frames(frames)
    if args.path == "w":
        sources = _reader(args, space, encoder).read(args.sources)
        return through(list(sources.ws), frames, loop=args.loop)
    seeds = parse_seeds(",".join(args.sources))
    if args.path == "z":
        return through_seeds(space, seeds, frames, tags=tags, truncation=psi, loop=args.loop)
    if len(seeds) != 1:
        raise ValueError(f"a near neighbour is sought for one seed, not {len(seeds)}")
    found = near_neighbours(space, seeds[0], args.alpha, tags=tags, truncation=psi, steps=frames)
    print(
        f"seed {found.seed} is {found.distance:.3g} away (alpha {found.alpha:.3g}), "
        f"found by draw {found.attempts}"
    )
    return through([found.ws[0], found.ws[-1]], frames, loop=True) if args.loop else found.ws


def run_region(args: argparse.Namespace) -> None:
    from models_core.latent.region import mix_region

    space, encoder = _open(args)
    reader = _reader(args, space, encoder)
    sheet = mix_region(
        space,
        reader.read([args.base]),
        reader.read(args.style),
        args.out,
        base_file=Path(args.base),
        mask_file=args.mask,
        region=args.region,
        style_encoder=args.style_encoder,
        layers=args.layers,
        scale=args.scale,
    )
    print(f"base, style, the part of it, result → {sheet}")


def run_project(args: argparse.Namespace) -> None:
    from models_core.latent.project import project

    space, encoder = _open(args)
    rows = project(
        space,
        encoder,
        args.images,
        args.out,
        likeness=_likeness(args),
        how=_optimization(args),
        progress=_bar("optimising"),
    )
    for row in rows:
        print(f"{row.name}: {row.figures()}")
    print(f"drawings, their w's and sheet.png → {args.out}")


def run_evaluation(args: argparse.Namespace) -> None:
    from models_core.data.dataset import ImageFolder
    from models_core.latent.evaluation import evaluate

    space, encoder = _open(args)
    if encoder is None:
        raise ValueError("name the encoder to measure with --encoder")
    figures = evaluate(
        space,
        encoder,
        ImageFolder(args.data, args.split),
        count=args.count,
        likeness=_likeness(args),
        how=_optimization(args),
        out=args.out,
        progress=_bar("optimising"),
    )
    for row in figures:
        print(row)


def _open(args: argparse.Namespace) -> tuple[LatentSpace, Encoder | None]:
    import sys

    from models_core.latent.encoder import Encoder
    from models_core.latent.space import LatentSpace

    space = LatentSpace.open(args.generator, args.device, args.tags_from)
    encoder = Encoder.from_folder(args.encoder, args.device) if args.encoder else None
    if encoder is not None:
        encoder.check(space)
        if not encoder.trained_for(space):
            print(
                "the encoder was trained for other weights of this generator: what it finds is "
                "less like the picture; train it on, or optimise with more --steps",
                file=sys.stderr,
            )
    return space, encoder


def _reader(args: argparse.Namespace, space: LatentSpace, encoder: Encoder | None) -> Any:
    from models_core.latent.sources import SourceReader

    return SourceReader(space, encoder, _tags(args), args.truncation)


def _tags(args: argparse.Namespace) -> list[str]:
    return [tag.strip() for tag in args.tags.split(",") if tag.strip()]


def _likeness(args: argparse.Namespace) -> Any:
    from models_core.latent.likeness import Likeness, open_judge

    return Likeness(open_judge(args.judge), args.judge_weight).to(args.device)


def _optimization(args: argparse.Namespace) -> Any:
    from models_core.latent.projection import Optimization

    return Optimization(args.steps, args.lr, args.space, args.stay) if args.steps else None


def _bar(text: str) -> Any:
    """A progress callable that draws a bar."""
    from tqdm import tqdm

    bar: Any = None

    def progress(done: int, of: int, loss: float) -> None:
        nonlocal bar
        if bar is None or done == 0:
            bar = tqdm(total=of, desc=text, unit="step")
        bar.update(done - bar.n)
        bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
        if done == of:
            bar.close()

    return progress
