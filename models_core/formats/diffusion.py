"""Stable Diffusion checkpoints in one file, by the names of the original (LDM) code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models_core.formats.tensors import Described, Weights, common_dtype, parameter_count
from models_core.formats.verdicts import Incompatible, Unsupported

UNET = "model.diffusion_model."
FIRST = f"{UNET}input_blocks.0.0.weight"
VAE = "first_stage_model."
CLIP = "cond_stage_model.transformer."  # SD 1.x
OPENCLIP = "cond_stage_model.model."  # SD 2.x
TEXT_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
FAMILIES = {"sd1": "Stable Diffusion 1.x", "sd2": "Stable Diffusion 2.x"}
CONFIGS = Path(__file__).parents[1] / "enhancer" / "configs"
# What must agree with LoRAs and adapters.
UNET_SIZES = (
    *("sample_size", "in_channels", "cross_attention_dim", "block_out_channels"),
    *("layers_per_block", "down_block_types", "up_block_types", "transformer_layers_per_block"),
)
# Other models by a name that only they have, in the order they are looked for.
OTHERS = (
    ("conditioner.embedders.1.", "a Stable Diffusion XL checkpoint"),
    ("conditioner.embedders.0.model.", "a Stable Diffusion XL refiner"),
    (f"{UNET}label_emb.", "a Stable Diffusion XL checkpoint"),
    (f"{UNET}joint_blocks.", "a Stable Diffusion 3 checkpoint"),
    ("joint_blocks.", "a Stable Diffusion 3 checkpoint"),
    (f"{UNET}double_blocks.", "a Flux checkpoint"),
    ("double_blocks.", "a Flux checkpoint"),
    ("control_model.", "a ControlNet"),
    ("controlnet_cond_embedding.", "a ControlNet"),
    ("params_ema", "an upscaler's checkpoint"),
    ("emb_params", "a textual inversion embedding"),
    ("string_to_param", "a textual inversion embedding"),
    ("clip_g", "a textual inversion embedding for Stable Diffusion XL"),
    ("hypernetwork", "a hypernetwork"),
)


@dataclass(frozen=True)
class BaseModel:
    """U-Net, autoencoder and text encoder of a Stable Diffusion in one file."""

    family: str
    weights: dict[str, Described]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def check(self) -> None:
        text = CLIP if self.family == "sd1" else OPENCLIP
        for prefix, what in ((VAE, "autoencoder"), (text, "text encoder")):
            if not any(name.startswith(prefix) for name in self.weights):
                raise Incompatible(f"it has a {FAMILIES[self.family]} U-Net, but no {what}")
        channels = self.weights[FIRST].shape[1:2]
        if channels == (9,):
            raise Unsupported("an inpainting Stable Diffusion checkpoint")
        if channels != (4,):
            raise Unsupported(f"a Stable Diffusion U-Net for {list(channels)} channels, not 4")

    def report(self) -> dict[str, Any]:
        return {
            "kind": "base",
            "architecture": FAMILIES[self.family],
            "family": self.family,
            # SD 2.x exists for 512 and for 768 pixels, and the weights do not tell which.
            "resolution": 512 if self.family == "sd1" else None,
            "conditioning": {"text": text_width(self.weights)},
            "prediction": prediction(self.family, self.metadata),
            "unet": usual_unet(self),
            "parameters": parameter_count(self.weights),
            "dtype": common_dtype(self.weights),
            **described(self.metadata),
        }


def read_single_file(weights: Weights, metadata: Mapping[str, Any] | None = None) -> BaseModel:
    """The model, without what training left behind (its own EMA copy, optimizer states)."""
    width = text_width(weights)
    family = TEXT_WIDTHS.get(width or 0)
    if any(name.startswith(OPENCLIP) for name in weights):
        family = "sd2"
    elif any(name.startswith(CLIP) for name in weights):
        family = "sd1"
    if family not in FAMILIES:
        raise Unsupported(f"a diffusion model that attends to {width} text channels")
    kept = {n: v for n, v in weights.items() if n.startswith((UNET, VAE, CLIP, OPENCLIP))}
    return BaseModel(family, kept, metadata or {})


def refuse_others(names: Iterable[str]) -> None:
    """Unsupported for models that are known, but not used here."""
    found = list(names)
    for mark, what in OTHERS:
        if any(name.startswith(mark) for name in found):
            raise Unsupported(what)


def text_width(weights: Weights) -> int | None:
    """How many channels the U-Net's cross-attention reads."""
    for name, value in weights.items():
        if name.endswith("attn2.to_k.weight") and len(value.shape) == 2:
            return value.shape[1]
    return None


def prediction(family: str, metadata: Mapping[str, str]) -> str | None:
    """ "epsilon" or "v"; None where an SD 2.x does not say, since its weights do not tell."""
    noted = metadata.get("modelspec.prediction_type", "")
    if noted:
        return "epsilon" if noted.startswith("eps") else "v"
    return "epsilon" if family == "sd1" else None


def unet_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Of a `unet/config.json` what decides which LoRAs and adapters fit."""
    return {name: config[name] for name in UNET_SIZES if name in config}


def usual_unet(model: BaseModel) -> dict[str, Any] | None:
    """The sizes of a usual Stable Diffusion's U-Net, as loading assumes them; None for others,
    which can be opened with their configuration alone."""
    name = "stable-diffusion-1" if model.family == "sd1" else "stable-diffusion-2"
    if model.family == "sd2" and prediction("sd2", model.metadata) != "epsilon":
        name += "-v"
    config = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    sizes = unet_sizes({"transformer_layers_per_block": 1, **config["unet"]})
    first = model.weights[FIRST].shape[0]
    usual = (sizes["cross_attention_dim"], sizes["block_out_channels"][0])
    return sizes if usual == (text_width(model.weights), first) else None


def described(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Licence, author and such from a file's metadata, as the ModelSpec convention names them."""
    fields = ("title", "author", "license", "description", "architecture", "trigger_phrase")
    found = {f: metadata.get(f"modelspec.{f}", metadata.get(f)) for f in fields}
    texts = {f: v[:2000] for f, v in found.items() if isinstance(v, str) and v}
    licence = texts.pop("license", None)
    return {"licence": licence, "metadata": texts}
