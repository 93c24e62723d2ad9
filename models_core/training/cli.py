"""`python -m models_core train …`"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

from models_core.commands import group

LOOPS = {
    "stylegan2": "the prototype: StyleGAN2 on localized crops",
    "encoder": "the encoder e: picture → w of a trained generator",
    "style-encoder": "the masked style encoder: hair, eyes or any shape from another picture",
    "autoencoder": "the enhancer's VAE",
    "unet": "the enhancer's base UNet and text encoder",
    "lora": "one style for a base: Stable Diffusion without a prototype",
    "stylediffuser": "the adapter, style tokens and LoRA that join the halves",
}


def register(subparsers: Any) -> None:
    for name, text in LOOPS.items():
        parser = group(subparsers, "train").add_parser(name, help=text)
        parser.add_argument("recipe", type=Path)
        parser.add_argument("--run", dest="run_folder", type=Path, help="default: runs/<model>")
        parser.add_argument("--steps", type=int, help="stop after this many more steps")
        parser.add_argument("--threads", type=int, help="CPU threads")
        parser.set_defaults(run=run_training, loop=name, folder=Path("runs") / name)


def run_training(args: argparse.Namespace) -> int:
    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    loop = importlib.import_module(f"models_core.training.{args.loop.replace('-', '_')}")
    loop.main(args.recipe, args.run_folder or args.folder, steps=args.steps)
    return 0
