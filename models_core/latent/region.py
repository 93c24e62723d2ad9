"""`sample region`: one base, several styles, one mask → pictures and a sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models_core.data.dataset import contact_sheet, to_pixels, to_tensor
from models_core.latent.animation import enlarged
from models_core.latent.masks import find_groups, paste, region_mask
from models_core.latent.mixing import mix, parse_layers
from models_core.latent.pictures import picture_size, read_mask
from models_core.latent.sources import Sources
from models_core.latent.space import LatentSpace
from models_core.latent.style import StyleEncoder


def mix_region(
    space: LatentSpace,
    base: Sources,
    styles: Sources,
    out: Path,
    *,
    base_file: Path,
    mask_file: Path | None = None,
    region: str | None = None,
    style_encoder: Path | None = None,
    layers: str | None = None,
    scale: int = 1,
) -> Path:
    """Write to the folder `out`: mask.png, one NN.png a style, and the sheet; returns its path.

    The mask is `mask_file` (as large as the base's picture, or as the generator draws) or found
    by `region`, the name of a tag group or a word of it.
    """
    if len(base) != 1:
        raise ValueError(f"one base is changed, not {len(base)}")
    mask = _mask(space, base, base_file, mask_file, region)
    pictures = to_tensor(base.pictures).expand(len(styles), -1, -1, -1).to(space.device)
    masks = mask.expand(len(styles), -1, -1, -1)
    ws = mixed_ws(space, base.ws, styles, masks, style_encoder, layers)
    with torch.no_grad():
        drawn = torch.cat([space.synthesize(w) for w in ws.to(space.device).split(16)])
    results = to_pixels(paste(drawn.clamp(-1, 1), pictures, masks))
    part = to_pixels(to_tensor(styles.pictures).to(space.device) * masks)
    rows = [
        cell
        for i in range(len(styles))
        for cell in (base.pictures[0], styles.pictures[i], part[i], results[i])
    ]
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray((mask[0, 0].cpu().numpy() * 255).astype(np.uint8)).save(out / "mask.png")
    for i, picture in enumerate(enlarged(results, scale)):
        Image.fromarray(picture).save(out / f"{i:02d}.png")
    contact_sheet(enlarged(np.stack(rows), scale), 4).save(out / "sheet.png")
    return out / "sheet.png"


def mixed_ws(
    space: LatentSpace,
    base: Tensor,
    styles: Sources,
    masks: Tensor,
    style_encoder: Path | None,
    layers: str | None,
) -> Tensor:
    """ws of the mixes: by the masked style encoder, or without one by style mixing."""
    if style_encoder is None:
        chosen = parse_layers(layers, space.generator) if layers else range(space.num_ws)
        return mix(base, styles.ws, chosen)
    if layers:
        raise ValueError("--layers choose whose w is taken; a style encoder chooses by itself")
    encoder = StyleEncoder.from_folder(style_encoder, space.device)
    encoder.check(space)
    pictures = to_tensor(styles.pictures)
    return encoder.mix(base.expand(len(styles), -1, -1), pictures, masks)


def _mask(
    space: LatentSpace, base: Sources, base_file: Path, file: Path | None, region: str | None
) -> Tensor:
    """[1, 1, R, R]"""
    if file is None:
        return region_mask(space, base.ws, find_groups(space, region or ""))
    drawn = (space.resolution, space.resolution)
    is_picture = base_file.is_file() and base_file.suffix != ".npz"
    size = picture_size(base_file) if is_picture else drawn
    return read_mask(file, space.resolution, size).unsqueeze(0).to(space.device)
