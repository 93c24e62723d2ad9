"""Tag agreement: does a picture show the traits that were asked for?

A classifier trained on real art reads each group's tag (hair colour, background, …) from the
picture. It learns on pictures disturbed, shifted and softened, so that a slightly blurred
drawing of the right thing still counts.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from models_core.critic.examples import disturbed, to_input
from models_core.critic.network import CriticNetwork
from models_core.data.dataset import ImageFolder, Kind

SIZE = 64
WIDTHS = (16, 32, 64)
BATCH = 64
STEPS = 2000
RATE = 3e-3
Progress = Callable[[int, int], None]


class TagReader(nn.Module):
    """[n, 3, 64, 64] in [-1, 1] → one logit vector a group; "" is the tag of having none."""

    def __init__(self, groups: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.groups = {name: list(tags) for name, tags in groups.items()}
        self.trunk = CriticNetwork(SIZE, WIDTHS)
        # From every place apart: pink hair is not pink clothes.
        inputs = WIDTHS[-1] * self.trunk.cells**2
        self.head = nn.Linear(inputs, sum(len(tags) for tags in self.groups.values()))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = self.trunk.features(x).flatten(1)
        return list(self.head(features).split([len(tags) for tags in self.groups.values()], dim=1))

    @torch.inference_mode()
    def read(self, images: np.ndarray) -> list[dict[str, str]]:
        """The likeliest tag of every group, for each of uint8 [n, h, w, 3]."""
        rows: list[dict[str, str]] = []
        for start in range(0, len(images), BATCH):
            small = np.stack([_fitted(image) for image in images[start : start + BATCH]])
            chosen = [logits.argmax(1) for logits in self(to_input(small))]
            rows += [
                {
                    group: tags[int(which[i])]
                    for (group, tags), which in zip(self.groups.items(), chosen, strict=True)
                }
                for i in range(len(small))
            ]
        return rows


def agreement(
    reader: TagReader, images: np.ndarray, asked: Sequence[Mapping[str, str]]
) -> dict[str, float]:
    """By group, the share of pictures from which the asked tag is read. `asked`: group → tag."""
    found = reader.read(images)
    return {
        group: float(
            np.mean(
                [read[group] == row.get(group, "") for read, row in zip(found, asked, strict=True)]
            )
        )
        for group in reader.groups
    }


def open_reader(
    data: Path, kind: Kind, cache: Path, *, progress: Progress | None = None
) -> TagReader:
    """The reader of this data set's tags: trained on its split `train` once, then kept.

    A group of which a picture may have several tags cannot be read by one choice: it is left out.
    """
    folder = ImageFolder(data)
    groups = {
        group: [*tags, *([""] if sum(tags.values()) < 0.999 else [])]
        for group, tags in folder.vocabulary.groups.items()
        if all(isinstance(row["tags"].get(group, ""), str) for row in folder.rows)
    }
    identity = json.dumps([folder.summary, kind, STEPS, SIZE, WIDTHS], sort_keys=True).encode()
    file = cache / f"tag-reader-{hashlib.sha256(identity).hexdigest()[:16]}.pt"
    reader = TagReader(groups)
    if not file.exists():
        reader = train_reader(folder, groups, kind, progress)
        cache.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        torch.save(reader.state_dict(), part)
        part.replace(file)
    reader.load_state_dict(torch.load(file, weights_only=True))
    return reader.eval()


def train_reader(
    folder: ImageFolder,
    groups: Mapping[str, Sequence[str]],
    kind: Kind,
    progress: Progress | None = None,
    seed: int = 0,
) -> TagReader:
    """Cross-entropy summed over the groups; Adam with a cosine."""
    pixels = folder.pixels(kind, SIZE)
    labels = torch.tensor([_label(row, groups) for row in folder.rows])
    dice = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = TagReader(groups)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=RATE, weight_decay=1e-3)
    for step in range(STEPS):
        index = dice.integers(len(pixels), size=BATCH)
        images = np.stack([_varied(pixels[i].astype(np.float32) / 255, dice) for i in index])
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((step + 1) / 50, (1 + math.cos(math.pi * step / STEPS)) / 2)
        wanted = labels[index]
        losses = [
            F.cross_entropy(logits, wanted[:, which])
            for which, logits in enumerate(reader(to_input(images)))
        ]
        optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, STEPS)
    return reader.eval()


def _label(row: Mapping[str, Any], groups: Mapping[str, Sequence[str]]) -> list[int]:
    return [list(tags).index(row["tags"].get(group, "")) for group, tags in groups.items()]


def _varied(pixels: np.ndarray, dice: Generator) -> np.ndarray:
    """Moved by up to two pixels, softened, disturbed."""
    pixels = np.roll(pixels, dice.integers(-2, 3, size=2), axis=(0, 1))
    if dice.random() < 0.3:
        sigma = dice.uniform(0, 1.2)
        pixels = ndimage.gaussian_filter(pixels, (sigma, sigma, 0))
    return disturbed(pixels, dice)


def _fitted(image: np.ndarray) -> np.ndarray:
    if image.shape[:2] != (SIZE, SIZE):
        picture = Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
        image = np.asarray(picture)
    return image.astype(np.float32) / 255
