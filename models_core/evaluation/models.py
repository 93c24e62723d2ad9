"""Each compared model as one thing: something that draws pictures of given tags from seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from models_core.data.dataset import to_pixels
from models_core.enhancer import sampling
from models_core.enhancer.checkpoint import Enhancer, load_enhancer
from models_core.evaluation.recipe import (
    STABLE_DIFFUSION,
    STYLEDIFFUSER,
    STYLEGAN2,
    Comparison,
    Row,
)
from models_core.releases.assembly import assemble
from models_core.releases.bundle import Bundle, bundle_files, file_digest, verify_release
from models_core.releases.sampling import sampling_parameters
from models_core.stylediffuser.pipeline import enlarge, seeded_noise
from models_core.stylediffuser.prototype import Prototype

# seeds and each one's tags → uint8 [n, size, size, 3]
Model = Callable[[Sequence[int], Sequence[Sequence[str]]], np.ndarray]


class Missing(ValueError):
    """A model of the recipe is not there, so its rows cannot be made."""


def identity(row: Row, comparison: Comparison, bundle: Bundle) -> dict[str, Any]:
    """All that decides a row's pictures: change any of it and they are drawn anew."""
    common = {"row": row.name, "first_seed": comparison.first_seed, "release": bundle.digest}
    if row.model == STABLE_DIFFUSION:
        path = _stable_diffusion(comparison)
        names = bundle_files(path) if path.is_dir() else [""]
        files = {name: file_digest(path / name) for name in names}
        return {**common, "files": files, "guidance": comparison.guidance}
    return common


def open_model(row: Row, comparison: Comparison, bundle: Bundle, device: str) -> Model:
    """The row's model with nothing else in memory."""
    params = bundle.manifest["params"]
    if row.model == STYLEGAN2:
        return stylegan2(bundle, device, truncation=params.get("truncation", 1.0))
    if row.model == STABLE_DIFFUSION:
        enhancer = load_enhancer(_stable_diffusion(comparison)).to(device)
        return stable_diffusion(
            enhancer,
            prefix=params.get("prefix", ()),
            steps=row.steps or 1,
            guidance=comparison.guidance,
            size=picture_size(bundle),
        )
    if row.model == STYLEDIFFUSER:
        return stylediffuser(bundle, row, device)
    raise ValueError(f"{row.name} is not drawn by a model")


def picture_size(bundle: Bundle) -> int:
    """Pixels a side of the release's pictures before its upscaler: that of its autoencoder."""
    from diffusers import AutoencoderKL

    return AutoencoderKL.load_config(bundle.component("pipeline") / "vae")["sample_size"]


def stylegan2(bundle: Bundle, device: str, truncation: float) -> Model:
    """The prototype alone, enlarged just as the enhancer sees it."""
    prototype = Prototype.from_pretrained(
        bundle.component("pipeline") / "prototype",
        local_files_only=True,
        torch_dtype=torch.float32,
    ).to(device)
    size = picture_size(bundle)

    @torch.inference_mode()
    def draw(seeds: Sequence[int], tags: Sequence[Sequence[str]]) -> np.ndarray:
        z, *_ = seeded_noise(seeds, prototype.G.z_dim, (1,))
        image, _ = prototype.draw(prototype.map(z.to(device), tags, truncation))
        return to_pixels(enlarge(image.clamp(-1, 1), size))

    return draw


def stable_diffusion(
    enhancer: Enhancer, *, prefix: Sequence[str], steps: int, guidance: float, size: int
) -> Model:
    """Text to image: Euler from pure noise, no prototype, no adapter, the UNet as it was saved."""

    def draw(seeds: Sequence[int], tags: Sequence[Sequence[str]]) -> np.ndarray:
        captions = [", ".join([*prefix, *row]) for row in tags]
        pictures = sampling.draw(enhancer, captions, seeds, steps=steps, guidance=guidance)
        return np.stack([_fitted(picture, size) for picture in to_pixels(pictures)])

    return draw


def stylediffuser(bundle: Bundle, row: Row, device: str) -> Model:
    """The release's pipeline and parameters, with the row's steps and conditionings."""
    pipeline = assemble(bundle, device)
    params = bundle.manifest["params"]
    asked = sampling_parameters(params)
    asked["steps"] = row.steps or 1
    if not row.start:
        asked["strength"] = 1.0
    if not row.adapter:
        asked["adapter_scale"] = 0.0
    if not row.style:
        asked["style_scale"] = 0.0

    def draw(seeds: Sequence[int], tags: Sequence[Sequence[str]]) -> np.ndarray:
        how: dict[str, Any] = {**asked, "batch_size": len(seeds)}
        drawn = pipeline(list(seeds), tags, prefix=params.get("prefix", ()), **how)
        return np.stack([np.asarray(image) for image in drawn.images])

    return draw


def verified(comparison: Comparison) -> Bundle:
    return verify_release(comparison.release)


def _stable_diffusion(comparison: Comparison) -> Path:
    path = comparison.stable_diffusion
    if path is None or not path.exists():
        where = f"{path} is not there" if path else "the recipe names no `stable_diffusion`"
        raise Missing(f"no Stable Diffusion with LoRA: {where}")
    return path


def _fitted(image: np.ndarray, size: int) -> np.ndarray:
    if len(image) == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
