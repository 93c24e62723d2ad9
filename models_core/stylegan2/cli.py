"""`verify-reference`, `convert stylegan2-run`, `sample stylegan2`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from models_core.commands import group

TOLERANCE = 1e-4


def register(subparsers: Any) -> None:
    verify = subparsers.add_parser(
        "verify-reference", help="compare our StyleGAN2 with recorded outputs of the original's"
    )
    verify.add_argument("folder", type=Path, help="holds NAME.json beside NAME.npz")
    verify.add_argument("--tolerance", type=float, default=TOLERANCE)
    verify.set_defaults(run=run_verify)

    convert = group(subparsers, "convert").add_parser(
        "stylegan2-run", help="a training run's averaged generator as a checkpoint folder"
    )
    convert.add_argument("run_folder", type=Path)
    convert.add_argument("--out", type=Path, help="default: RUN_FOLDER/generator")
    convert.add_argument("--snapshot", type=Path, help="a G_ema-*.pt (default: the newest)")
    convert.add_argument("--rules", type=Path, help="the data recipe whose rules tags follow")
    convert.add_argument("--fp32", action="store_true", help="keep full precision")
    convert.set_defaults(run=run_convert)

    sample = group(subparsers, "sample").add_parser(
        "stylegan2", help="a sheet of prototypes from a generator's folder"
    )
    sample.add_argument("folder", type=Path, help="a checkpoint or prototype folder")
    sample.add_argument("--seeds", default="0-47", help="numbers and ranges, such as 0-47,99")
    sample.add_argument("--truncation", type=float, default=0.7, help="psi; 1 is none")
    sample.add_argument(
        "--tags", default="", help='traits of every picture, such as "pink hair, smiling"'
    )
    sample.add_argument("--cutoff", type=int, help="layers to truncate, from the first (all)")
    sample.add_argument("--tags-from", type=Path, help="dataset.json or release.json of its tags")
    sample.add_argument("--columns", type=int, default=12)
    sample.add_argument("--out", type=Path, default=Path("sheet.png"))
    sample.add_argument("--device", default="cpu")
    sample.set_defaults(run=run_sample)


def run_verify(args: argparse.Namespace) -> int:
    from models_core.stylegan2.reference import compare_folder

    worst = 0.0
    for row in compare_folder(args.folder):
        verdict = "ok" if row.largest <= args.tolerance else "BEYOND THE TOLERANCE"
        print(
            f"{row.pair:20} {row.output:28} differs by {row.largest:.2e} "
            f"of up to {row.scale:.3g}  {verdict}"
        )
        worst = max(worst, row.largest)
    print(f"largest difference {worst:.2e}, tolerance {args.tolerance:.0e}")
    return 0 if worst <= args.tolerance else 1


def run_convert(args: argparse.Namespace) -> None:
    import torch

    from models_core.stylegan2.runs import convert_run

    out = args.out or args.run_folder / "generator"
    dtype = torch.float32 if args.fp32 else torch.float16
    taken = convert_run(args.run_folder, out, snapshot=args.snapshot, rules=args.rules, dtype=dtype)
    print(f"{taken} → {out}")


def run_sample(args: argparse.Namespace) -> None:
    from models_core.data.dataset import contact_sheet
    from models_core.latent.space import LatentSpace
    from models_core.stylegan2.sample import parse_seeds

    seeds = parse_seeds(args.seeds)
    asked = [tag.strip() for tag in args.tags.split(",") if tag.strip()]
    if args.columns < 1:
        raise ValueError(f"--columns must be at least 1, not {args.columns}")
    space = LatentSpace.open(args.folder, args.device, args.tags_from)
    if args.cutoff is not None and not 0 <= args.cutoff <= space.num_ws:
        raise ValueError(f"--cutoff is from 0 to {space.num_ws} layers, not {args.cutoff}")
    pictures = space.draw(space.from_seeds(seeds, asked, args.truncation, args.cutoff))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, min(args.columns, len(pictures))).save(args.out)
    print(f"{len(pictures)} prototypes → {args.out}")
