"""Reading a built data set: pixels as one memory-mapped array, labels from tags."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from models_core.data.tags import words_of

Kind = Literal["whole", "crop"]


class DatasetError(ValueError):
    """The folder is not a built data set."""


class TagVocabulary:
    """Tags in groups ↔ multi-hot label vectors, one position per tag, in the order given."""

    def __init__(self, groups: Mapping[str, Mapping[str, float]]) -> None:
        self.groups = {name: dict(tags) for name, tags in groups.items()}
        self.tags = [tag for tags in self.groups.values() for tag in tags]
        self.index = {tag: i for i, tag in enumerate(self.tags)}

    def __len__(self) -> int:
        return len(self.tags)

    def labels(self, rows: list[list[str]]) -> Tensor:
        """Tags of N images → [N, len(self)] of zeros and ones. Unknown tags are a KeyError."""
        out = torch.zeros(len(rows), len(self))
        for i, tags in enumerate(rows):
            for tag in tags:
                out[i, self.index[tag]] = 1
        return out


class ImageFolder:
    """One split of a data set made by `models_core.data.build`."""

    def __init__(self, root: Path, split: str = "train") -> None:
        self.root, self.folder = Path(root), Path(root) / split
        if not (self.folder / "metadata.jsonl").exists():
            raise DatasetError(
                f"{self.folder} holds no metadata.jsonl; build it first: "
                "python -m models_core data build RECIPE"
            )
        self.rows: list[dict[str, Any]] = [
            json.loads(line) for line in (self.folder / "metadata.jsonl").open()
        ]
        self.summary: dict[str, Any] = json.loads((self.root / "dataset.json").read_text())
        self.vocabulary = TagVocabulary(self.summary["tags"])

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def tags(self) -> list[list[str]]:
        """The words of each image that are in the vocabulary."""
        return [
            [w for w in words_of(row["tags"]) if w in self.vocabulary.index] for row in self.rows
        ]

    @cached_property
    def captions(self) -> list[str]:
        return [row["caption"] for row in self.rows]

    @cached_property
    def labels(self) -> Tensor:
        """[N, tags] multi-hot."""
        return self.vocabulary.labels(self.tags)

    def pixels(self, kind: Kind, size: int) -> np.ndarray:
        """All images as uint8 [N, size, size, 3], resized antialiased once and memory-mapped."""
        file = self.folder / f"cache-{kind}-{size}.npy"
        shape = (len(self), size, size, 3)
        if self._stale(file) or np.load(file, mmap_mode="r").shape != shape:
            key = "file_name" if kind == "whole" else "crop_file_name"
            # A name of this process's own: two trainings may begin at the same time.
            part = file.with_suffix(f".{os.getpid()}.part")
            cache = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for i, row in enumerate(self.rows):
                image = Image.open(self.folder / row[key]).convert("RGB")
                if image.size != (size, size):
                    image = image.resize((size, size), Image.Resampling.LANCZOS)
                cache[i] = np.asarray(image)
            cache.flush()
            part.replace(file)
        return np.load(file, mmap_mode="r")

    def _stale(self, cache: Path) -> bool:
        """Is there no cache, or one of an earlier build? (Metadata that stays is not rewritten.)"""
        metadata = self.folder / "metadata.jsonl"
        return not cache.exists() or cache.stat().st_mtime_ns < metadata.stat().st_mtime_ns


class LabelledImages(Dataset[tuple[Tensor, Tensor]]):
    """A split as torch's data loaders want it: (image, label vector) pairs.

    Images are float32 [3, size, size] in [-1, 1], labels [tags] of zeros and ones.

    Args:
        kind: `crop` for the prototype's generator, `whole` for the enhancer.
        flip: add the mirror image of each picture whose source allows it, after all originals.
            A style that is asymmetric (a parting, a wink on one side) does not: its rows lack
            `flip`.
    """

    def __init__(self, folder: ImageFolder, kind: Kind, size: int, *, flip: bool = True) -> None:
        self.pixels, self.labels = folder.pixels(kind, size), folder.labels
        self.mirrored = [i for i, row in enumerate(folder.rows) if flip and row.get("flip")]

    def __len__(self) -> int:
        return len(self.pixels) + len(self.mirrored)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        mirror = index >= len(self.pixels)
        place = self.mirrored[index - len(self.pixels)] if mirror else index
        (image,) = to_tensor(self.pixels[place][None])
        return image.flip(-1) if mirror else image, self.labels[place]


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [N, H, W, 3] → float32 [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def to_pixels(images: Tensor) -> np.ndarray:
    """float [N, 3, H, W] in [-1, 1] → uint8 [N, H, W, 3], rounded and clamped."""
    scaled = ((images.detach().float() + 1) * 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def contact_sheet(images: np.ndarray, columns: int) -> Image.Image:
    """Tile uint8 [N, H, W, 3] row by row."""
    n, h, w, _ = images.shape
    rows = -(-n // columns)
    sheet = Image.new("RGB", (columns * w, rows * h), "white")
    for i, image in enumerate(images):
        sheet.paste(Image.fromarray(image), ((i % columns) * w, (i // columns) * h))
    return sheet
