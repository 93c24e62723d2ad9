"""How well pictures are found again in a generator's latent space: `evaluate encoder`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from models_core.data.dataset import ImageFolder, contact_sheet, to_pixels, to_tensor
from models_core.latent.encoder import Encoder
from models_core.latent.likeness import Likeness
from models_core.latent.projection import Optimization, Progress, optimize
from models_core.latent.space import LatentSpace

FIRST_SEED = 1_000_000  # far from what people sample, so that sheets do not show these
SHOWN = 12


@dataclass(frozen=True)
class Reconstruction:
    """Mean errors of drawings against `pictures` of one kind, found by one `method`.

    `psnr` in dB (mean of the pictures'), `l1` in 255ths of the pixels' range, `features` the
    judge's distance (0 without one); `w` the root mean square error of w in units of its own
    spread over the pictures, where the true w is known.
    """

    pictures: str
    method: str
    count: int
    psnr: float
    l1: float
    features: float
    w: float | None

    def __str__(self) -> str:
        w = "" if self.w is None else f"  w off by {self.w:.3f}"
        return (
            f"{self.pictures:12} {self.method:10} n={self.count}  PSNR {self.psnr:.2f} dB  "
            f"L1 {self.l1:.2f}/255  features {self.features:.4f}{w}"
        )


def evaluate(
    space: LatentSpace,
    encoder: Encoder,
    held_out: ImageFolder,
    *,
    count: int,
    likeness: Likeness,
    how: Optimization | None,
    out: Path | None = None,
    progress: Progress | None = None,
) -> list[Reconstruction]:
    """Errors on own samples and on real crops that nothing was trained on.

    By the mean w (the worst that makes sense), by the encoder, and by optimisation on top of it.
    With `out`, a JSON file of the figures and beside it a sheet of the real crops.
    """
    if count < 1 or count > len(held_out):
        raise ValueError(f"count is from 1 to the split's {len(held_out)} pictures, not {count}")
    truth = space.from_seeds(range(FIRST_SEED, FIRST_SEED + count))
    own = to_tensor(space.draw(truth))
    real = to_tensor(held_out.pixels("crop", space.resolution)[:count])
    rows: list[Reconstruction] = []
    for kind, images, ws in (("own samples", own, truth), ("real crops", real, None)):
        found = {"mean w": space.w_avg.expand_as(truth), "encoder": encoder.encode(images)}
        if how is not None:
            start = found["encoder"]
            found["optimised"] = optimize(space, images, start, likeness, how, progress)
        drawn = {method: to_tensor(space.draw(w)) for method, w in found.items()}
        rows += [
            _compare(kind, method, images, drawn[method], found[method], ws, likeness)
            for method in found
        ]
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
        shown = [images[:SHOWN] for images in (real, *list(drawn.values())[1:])]
        contact_sheet(to_pixels(torch.cat(shown)), len(shown[0])).save(out.with_suffix(".png"))
    return rows


@torch.no_grad()
def _compare(
    kind: str,
    method: str,
    images: Tensor,
    drawn: Tensor,
    ws: Tensor,
    truth: Tensor | None,
    likeness: Likeness,
) -> Reconstruction:
    mse = (images - drawn).square().mean(dim=(1, 2, 3)).clamp(min=1e-10)
    features = torch.cat(
        [likeness.features(a, b) for a, b in zip(drawn.split(16), images.split(16), strict=True)]
    )
    off = None
    if truth is not None:
        spread = truth.std(dim=(0, 1)).clamp(min=1e-3)
        off = ((ws.to(truth) - truth) / spread).square().mean().sqrt().item()
    return Reconstruction(
        pictures=kind,
        method=method,
        count=len(images),
        psnr=(10 * (4 / mse).log10()).mean().item(),
        l1=(images - drawn).abs().mean().item() * 127.5,
        features=features.mean().item(),
        w=off,
    )
