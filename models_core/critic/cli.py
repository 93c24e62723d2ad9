"""`train critic` and `evaluate critic`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from models_core.commands import group


def register(subparsers: Any) -> None:
    train = group(subparsers, "train").add_parser(
        "critic", help="the judge of both halves: real art against faults"
    )
    train.add_argument("recipe", type=Path)
    train.add_argument("--run", dest="run_folder", type=Path, default=Path("runs/critic"))
    train.add_argument("--steps", type=int, help="stop after this many more steps")
    train.add_argument("--threads", type=int, default=1, help="CPU threads")
    train.set_defaults(run=run_training)

    score = group(subparsers, "evaluate").add_parser("critic", help="score image files")
    score.add_argument("critic", type=Path, help="a critic's component folder")
    score.add_argument("images", type=Path, nargs="+", help="files, or folders of PNGs")
    score.set_defaults(run=run_scores)


def run_training(args: argparse.Namespace) -> None:
    import json

    import torch

    from models_core.critic.train import main

    torch.set_num_threads(args.threads)
    print(json.dumps(main(args.recipe, args.run_folder, args.steps), indent=2))


def run_scores(args: argparse.Namespace) -> None:
    from PIL import Image

    from models_core.critic.critic import BENIGN, Critic

    files = [
        file
        for path in args.images
        for file in (sorted(path.glob("*.png")) if path.is_dir() else [path])
    ]
    if not files:
        raise ValueError("no images: name PNG files or folders that hold some")
    scores = Critic.open(args.critic)([Image.open(file) for file in files])
    for file, score in zip(files, scores, strict=True):
        print(f"{score:.3f}  {file}")
    benign = sum(score >= BENIGN for score in scores)
    print(f"{benign} of {len(scores)} are benign (score of {BENIGN} or more)")
