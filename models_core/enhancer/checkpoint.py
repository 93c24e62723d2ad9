"""Opening a Stable Diffusion 1.x or 2.x, offline: a folder in diffusers' layout, or one
`.safetensors` file in the naming of its first authors (Rombach 2022).

A single file holds weights alone. Configurations and CLIP's vocabulary come with this package, or
from a folder that was uploaded with the file; nothing is ever fetched, and no code of the upload
is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast

from models_core.enhancer.clip_tokenizer import build_clip_tokenizer
from models_core.enhancer.components import build_scheduler
from models_core.enhancer.lora import fuse_loras
from models_core.enhancer.weights import WeightsError, lay_out, misfits, read_tensors, shorten

CONFIGS = Path(__file__).parent / "configs"
COMPONENTS = ("unet", "vae", "text_encoder")
UNET = "model.diffusion_model."
VAE = "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
# Facts about a text encoder that are no part of its weights here.
UNUSED = ("embeddings.position_ids", "text_projection", "logit_scale")


class CheckpointError(WeightsError):
    """The checkpoint cannot be used; the message says why."""


@dataclass(frozen=True)
class Enhancer:
    """The components of one Stable Diffusion, in evaluation mode; loaded on the CPU."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: Any
    scheduler: EulerDiscreteScheduler

    def modules(self) -> tuple[nn.Module, ...]:
        return (self.unet, self.vae, self.text_encoder)

    def to(self, device: torch.device | str) -> Self:
        """Move the networks, in place."""
        for module in self.modules():
            module.to(device)
        return self

    def save(self, folder: Path) -> None:
        """Write diffusers' folder layout, one component a subfolder."""
        for name in (*COMPONENTS, "tokenizer", "scheduler"):
            getattr(self, name).save_pretrained(folder / name)


def load_enhancer(
    path: Path, config: Path | None = None, loras: Sequence[tuple[Path, float]] = ()
) -> Enhancer:
    """Open a folder in diffusers' layout or a single file.

    Args:
        path: the folder, or the `.safetensors` file.
        config: for a single file: a folder with `unet/config.json`, `vae/config.json`,
            `text_encoder/config.json` and perhaps `scheduler/` and `tokenizer/`, where the
            checkpoint is no Stable Diffusion 1.x or 2.x of the usual sizes.
        loras: files or folders with a weight each, fused in this order.

    Raises:
        CheckpointError: it is neither, or does not fit its configuration.
        LoraError: a LoRA fits no layer.
    """
    path = Path(path)
    if path.is_dir():
        enhancer = load_folder(path)
    elif path.suffix == ".safetensors":
        enhancer = load_single_file(path, config)
    else:
        raise CheckpointError(
            f"{path} is neither a folder in diffusers' layout nor a .safetensors file"
        )
    fuse_loras({"unet": enhancer.unet, "text_encoder": enhancer.text_encoder}, loras)
    return enhancer


def load_folder(folder: Path) -> Enhancer:
    """The five components of a folder in diffusers' layout; its other parts are left alone."""
    local: dict[str, Any] = {"local_files_only": True}
    safe = {**local, "use_safetensors": True}
    for name in (*COMPONENTS, "tokenizer", "scheduler"):
        if not (folder / name).is_dir():
            raise CheckpointError(f"{folder} has no {name}/; a folder in diffusers' layout has")
    try:
        enhancer = Enhancer(
            unet=UNet2DConditionModel.from_pretrained(folder / "unet", **safe),
            vae=AutoencoderKL.from_pretrained(folder / "vae", **safe),
            # From this folder: nothing is downloaded.
            text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", **safe),  # nosec B615
            tokenizer=load_tokenizer(folder / "tokenizer"),
            scheduler=EulerDiscreteScheduler.from_pretrained(folder / "scheduler", **local),
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be opened: {error}") from error
    return _settled(enhancer)


def load_tokenizer(folder: Path) -> Any:
    """A saved tokenizer: whole, or CLIP's as vocab.json and merges.txt."""
    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else CLIPTokenizer
    return kind.from_pretrained(folder, local_files_only=True)


def load_single_file(file: Path, config: Path | None = None) -> Enhancer:
    """Convert a single-file checkpoint (see `load_enhancer`)."""
    tensors, metadata = read_tensors(file)
    check_kind(file, tensors)
    table = read_config(config) if config else packaged_config(file, tensors, metadata)
    modules = empty_modules(table)
    converted = convert(file, tensors, modules)
    faults = [
        f"{name}: {fault}"
        for name in COMPONENTS
        for fault in misfits(modules[name], converted[name])
    ]
    if faults:
        hint = "" if config else "; a folder with its configuration may be given beside the file"
        raise CheckpointError(f"{file} does not fit its configuration: {shorten(faults)}{hint}")
    for name, module in modules.items():
        state = {key: value.float().contiguous() for key, value in converted[name].items()}
        module.load_state_dict(state, assign=True)
    if config and (config / "tokenizer").is_dir():
        tokenizer = load_tokenizer(config / "tokenizer")
    else:
        tokenizer = build_clip_tokenizer(**table.get("tokenizer", {}))
    scheduler = build_scheduler(prediction=table["scheduler"]["prediction_type"])
    return _settled(Enhancer(**modules, tokenizer=tokenizer, scheduler=scheduler))


def empty_modules(table: Mapping[str, Any]) -> dict[str, Any]:
    """The three networks of a configuration, with no memory for weights yet."""
    try:
        with init_empty_weights():
            return {
                "unet": UNet2DConditionModel.from_config(table["unet"]),
                "vae": AutoencoderKL.from_config(table["vae"]),
                "text_encoder": CLIPTextModel(CLIPTextConfig(**table["text_encoder"])),
            }
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"configuration of the checkpoint: {error}") from error


def convert(
    file: Path, tensors: dict[str, Tensor], modules: Mapping[str, Any]
) -> dict[str, dict[str, Tensor]]:
    """The weights by component, in diffusers' and transformers' naming."""
    try:
        return {
            "unet": convert_ldm_unet_checkpoint(tensors, modules["unet"].config),
            "vae": convert_ldm_vae_checkpoint(tensors, modules["vae"].config),
            "text_encoder": convert_text(modules["text_encoder"], tensors),
        }
    except (KeyError, IndexError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{file} is not laid out as a Stable Diffusion: {error}") from error


def check_kind(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse what is no Stable Diffusion 1.x or 2.x for drawing from text."""
    first = tensors.get(f"{UNET}input_blocks.0.0.weight")
    if any(key.startswith("conditioner.embedders.") for key in tensors):
        kind = "Stable Diffusion XL; only 1.x and 2.x are supported"
    elif first is None:
        kind = f"no Stable Diffusion: it has no tensor {UNET}input_blocks.0.0.weight"
    elif first.shape[1] != 4:
        kind = f"made for {first.shape[1]} input channels (inpainting, depth, …), not for 4"
    elif not any(key.startswith(VAE) for key in tensors):
        kind = f"without its autoencoder: no tensor begins with {VAE}"
    elif not any(key.startswith((CLIP, OPEN_CLIP)) for key in tensors):
        kind = "without its text encoder: no tensor begins with cond_stage_model."
    else:
        return
    raise CheckpointError(f"{file} is {kind}")


def packaged_config(
    file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, Any]:
    """The configuration of a usual Stable Diffusion, told by its cross-attention's width.

    Nothing in the weights of a 2.x says whether it predicts ε or v: the file's
    `modelspec.prediction_type` does; without one v is assumed, as the 768-pixel 2.x predict.
    """
    key = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    width = tensors[key].shape[1] if key in tensors else 0
    if width == 768:
        name = "stable-diffusion-1"
    elif width == 1024:
        epsilon = metadata.get("modelspec.prediction_type", "v").startswith("eps")
        name = "stable-diffusion-2" if epsilon else "stable-diffusion-2-v"
    else:
        raise CheckpointError(
            f"{file} is a Stable Diffusion with text of width {width}, neither 1.x (768) nor 2.x "
            "(1024); give the folder with its configuration beside the file"
        )
    return json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of an upload, in the shape of this package's own."""
    try:
        table: dict[str, Any] = {
            name: json.loads((folder / name / "config.json").read_text(encoding="utf-8"))
            for name in COMPONENTS
        }
        scheduler = folder / "scheduler" / "scheduler_config.json"
        noise = json.loads(scheduler.read_text(encoding="utf-8")) if scheduler.exists() else {}
    except (OSError, ValueError) as error:
        raise CheckpointError(f"configuration of the checkpoint: {error}") from error
    table["scheduler"] = {"prediction_type": noise.get("prediction_type", "epsilon")}
    return table


def convert_text(text: CLIPTextModel, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The text encoder's weights from CLIP's naming (1.x) or OpenCLIP's (2.x)."""
    if any(key.startswith(CLIP) for key in tensors):
        found = convert_ldm_clip_checkpoint(tensors)
    else:
        found = convert_open_clip_checkpoint(text, tensors, prefix=OPEN_CLIP)
    named = {key.removeprefix("text_model."): value for key, value in found.items()}
    return {key: value for key, value in named.items() if not key.startswith(UNUSED)}


def _settled(enhancer: Enhancer) -> Enhancer:
    for module in enhancer.modules():
        module.requires_grad_(False).eval()
        lay_out(module, channels_last=module is not enhancer.text_encoder)
    return enhancer
