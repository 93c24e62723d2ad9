"""What a command is told to mix: seeds, pictures, and w's that a projection wrote."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models_core.latent.encoder import Encoder
from models_core.latent.pictures import read_picture
from models_core.latent.space import LatentSpace
from models_core.stylegan2.sample import parse_seeds

SAVED_W = ".npz"
LARGEST_FILE = 2**20


@dataclass(frozen=True)
class Sources:
    """Some pictures and their w's: ws [N, num_ws, w_dim], pictures uint8 [N, R, R, 3]."""

    names: list[str]
    ws: Tensor
    pictures: np.ndarray

    def __len__(self) -> int:
        return len(self.names)


class SourceReader:
    """Reads sources for one generator.

    Args:
        encoder: what finds w for pictures; without one, pictures are refused.
        tags, truncation: of the pictures that seeds draw.
    """

    def __init__(
        self,
        space: LatentSpace,
        encoder: Encoder | None = None,
        tags: Sequence[str] = (),
        truncation: float = 1.0,
    ) -> None:
        self.space, self.encoder, self.tags, self.truncation = space, encoder, tags, truncation
        if encoder is not None:
            encoder.check(space)

    def read(self, items: Sequence[str]) -> Sources:
        """Each item is seeds such as 0-3,8, a picture's file, or a `.npz` of `project`."""
        parts = [self._read(item) for item in items]
        if not parts:
            raise ValueError("no sources: name seeds such as 0-3,8 or files of pictures")
        return Sources(
            [name for part in parts for name in part.names],
            torch.cat([part.ws for part in parts]),
            np.concatenate([part.pictures for part in parts]),
        )

    def _read(self, item: str) -> Sources:
        path = Path(item)
        if path.suffix == SAVED_W:
            ws = read_ws(path, self.space)
            return Sources([path.name], ws, self.space.draw(ws))
        if not path.suffix and not path.exists():
            seeds = parse_seeds(item)
            ws = self.space.from_seeds(seeds, self.tags, self.truncation)
            return Sources([str(seed) for seed in seeds], ws, self.space.draw(ws))
        if self.encoder is None:
            raise ValueError(f"{item}: a picture needs an encoder; give its folder with --encoder")
        pictures = read_picture(path, self.space.resolution)[None]
        ws = self.encoder.encode(pictures).to(self.space.device)
        return Sources([path.name], ws, pictures)


def save_ws(file: Path, ws: Tensor) -> None:
    """One picture's ws [num_ws, w_dim], whole or not at all."""
    part = file.with_name(f".{file.name}.part")
    with part.open("wb") as stream:
        np.savez(stream, ws=ws.cpu().float().numpy())
    part.replace(file)


def read_ws(file: Path, space: LatentSpace) -> Tensor:
    """What `save_ws` wrote, as [1, num_ws, w_dim]; no pickle is read."""
    shape = (space.num_ws, space.generator.w_dim)
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise ValueError("it is too large")
        # A small file may unpack to a huge one: the sizes are looked at first.
        with zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_FILE:
                raise ValueError("it unpacks to too much")
        with np.load(file, allow_pickle=False) as arrays:
            ws = torch.from_numpy(arrays["ws"].astype(np.float32))
    except FileNotFoundError:
        raise ValueError(f"there is no file {file}") from None
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} holds no w's of a projection: {error}") from error
    if ws.shape != shape or not ws.isfinite().all():
        raise ValueError(f"{file} holds w's of {list(ws.shape)}, the generator's are {list(shape)}")
    return ws.unsqueeze(0).to(space.device)
