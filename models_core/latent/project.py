"""`project`: pictures → their nearest drawings, w's to use again, and how near they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from models_core.data.dataset import contact_sheet, to_tensor
from models_core.latent.encoder import Encoder
from models_core.latent.likeness import Likeness
from models_core.latent.pictures import read_picture
from models_core.latent.projection import Optimization, Progress, mean_ws, optimize
from models_core.latent.sources import SAVED_W, save_ws
from models_core.latent.space import LatentSpace

DECIMALS = 2


@dataclass(frozen=True)
class Projection:
    """How near one picture's drawings are: PSNR in dB at the start and after optimisation."""

    name: str
    start: float
    optimized: float | None

    def figures(self) -> str:
        text = f"{self.start:.2f} dB"
        return text if self.optimized is None else f"{text}, optimised {self.optimized:.2f} dB"


def project(
    space: LatentSpace,
    encoder: Encoder | None,
    files: Sequence[Path],
    out: Path,
    *,
    likeness: Likeness,
    how: Optimization | None,
    progress: Progress | None = None,
) -> list[Projection]:
    """Write to the folder `out`: NAME.png and NAME.npz of every picture, sheet.png, report.json.

    The sheet shows pictures, what the search began with, and what it found.

    Raises:
        ValueError: neither an encoder nor optimisation is given, two files share a name, or a
            file is no picture. Nothing is written.
    """
    if encoder is None and how is None:
        raise ValueError("give an encoder's folder with --encoder, or --steps to search with")
    names = [file.stem for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two pictures are called {twice[0]!r}; their results would be too")
    pictures = np.stack([read_picture(file, space.resolution) for file in files])
    images = to_tensor(pictures)
    first = mean_ws(space, len(files)) if encoder is None else encoder.encode(images)
    last = first if how is None else optimize(space, images, first, likeness, how, progress)
    drawn = [space.draw(first), space.draw(last)]
    rows = [
        Projection(name, psnr_of(a, x), None if how is None else psnr_of(b, x))
        for name, x, a, b in zip(names, pictures, *drawn, strict=True)
    ]
    _write(out, rows, last, pictures, drawn if how else drawn[:1])
    return rows


def _write(
    out: Path, rows: list[Projection], ws: Tensor, pictures: np.ndarray, drawn: list[np.ndarray]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for row, w, picture in zip(rows, ws, drawn[-1], strict=True):
        Image.fromarray(picture).save(out / f"{row.name}.png")
        save_ws(out / f"{row.name}{SAVED_W}", w)
    contact_sheet(np.concatenate([pictures, *drawn]), len(rows)).save(out / "sheet.png")
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (out / "report.json").write_text(text + "\n")


def psnr_of(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of uint8 pictures; 99 where they are the same."""
    mse = np.square(a.astype(np.float64) - b).mean()
    return round(float(10 * np.log10(255**2 / mse)), DECIMALS) if mse else 99.0
