"""The base that a LoRA or an adapter is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft import LoraConfig
from torch import Tensor

from models_core.enhancer.checkpoint import Enhancer, load_enhancer
from models_core.enhancer.weights import lay_out


def open_base(recipe: Mapping[str, Any], device: torch.device | str = "cpu") -> Enhancer:
    """The Stable Diffusion a recipe names, frozen, on `device`.

    `base` is a folder in diffusers' layout or a single file (with its configuration's folder as
    `base_config`, where it is of an unusual size); `[[loras]]`, each with `path` and `weight`, are
    fused in; `vae` takes the place of its autoencoder: the encoder must be the same, but the
    decoder may have learnt on since.
    """
    config = recipe.get("base_config")
    loras = [(Path(row["path"]), float(row.get("weight", 1))) for row in recipe.get("loras", ())]
    base = load_enhancer(Path(recipe["base"]), Path(config) if config else None, loras)
    if "vae" in recipe:
        vae = AutoencoderKL.from_pretrained(recipe["vae"], local_files_only=True)
        lay_out(vae.requires_grad_(False).eval(), channels_last=True)
        base = replace(base, vae=vae)
    return base.to(device)


def add_lora(unet: UNet2DConditionModel, lora: Mapping[str, Any]) -> list[Tensor]:
    """Inject a fresh LoRA, which changes nothing yet, from a recipe's `[lora]` table.

    `rank`, `alpha` and `targets` are peft's r, lora_alpha and target_modules.
    Returns its parameters.
    """
    config = LoraConfig(
        r=lora["rank"],
        lora_alpha=lora["alpha"],
        target_modules=lora["targets"],
        lora_dropout=lora.get("dropout", 0.0),
        init_lora_weights="gaussian",
    )
    try:
        unet.add_adapter(config)
    except ValueError as error:
        raise ValueError(f"[lora] targets: {error}") from error
    return [p for p in unet.parameters() if p.requires_grad]


def fused(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """The UNet with its LoRA in its weights and gone from its layers, in place."""
    unet.fuse_lora()
    unet.unload_lora()
    return unet
