"""From a bundle's parts to one pipeline: base, LoRAs, prototype, and perhaps an adapter.

    pipeline/            StyleDiffuserPipeline.save_pretrained
    pipeline/prototype/  ours, or a StyleGAN2 checkpoint (`models_core.stylegan2.checkpoint`)
    pipeline/adapter/    may be absent: then the prototype reaches the enhancer as its start alone
    base/                instead of pipeline/unet and so on: a Stable Diffusion in one file
    loras/1/, loras/2/   fused into the base in the order of `params.loras`

A release that was trained as a whole has `pipeline/` alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_core.releases.bundle import Bundle, ReleaseError

ADAPTER = "adapter"
LORA_WEIGHTS = (-10.0, 10.0)


@dataclass(frozen=True)
class LoraPart:
    """One entry of `params.loras`: its folder in the bundle, its weight, its name for people."""

    folder: str
    weight: float
    name: str = ""


def lora_parts(params: Mapping[str, Any]) -> list[LoraPart]:
    """The LoRAs of a release's parameters, checked; their order is that of fusing."""
    listed = params.get("loras", [])
    if not isinstance(listed, list):
        raise ReleaseError("params.loras is a list of folder and weight")
    return [_lora_part(entry) for entry in listed]


def _lora_part(entry: Any) -> LoraPart:
    if not isinstance(entry, dict) or not entry.keys() <= {"folder", "weight", "name"}:
        raise ReleaseError(f"a LoRA is {{folder, weight, name}}, not {entry!r}")
    folder, weight = entry.get("folder"), entry.get("weight")
    if not isinstance(folder, str) or Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise ReleaseError(f"a LoRA's folder lies in the bundle; {folder!r} does not")
    low, high = LORA_WEIGHTS
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not low <= weight <= high:
        raise ReleaseError(f"the weight of {folder} is from {low:g} to {high:g}, not {weight!r}")
    return LoraPart(folder, float(weight), str(entry.get("name", "")))


def assemble(bundle: Bundle, device: str, leave_out: Collection[str] = ()) -> Any:
    """The bundle's StyleDiffuserPipeline, in the device's precision.

    Args:
        leave_out: parts to do without, `adapter` or a LoRA's folder: what a part is worth is
            seen by leaving it out.

    Raises:
        LoraError: a LoRA fits no layer of this base; the message names its keys.
    """
    folder = bundle.component("pipeline")
    given: dict[str, Any] = {}
    if (bundle.folder / "base").is_dir():
        given |= single_file_base(bundle.component("base"), device)
    if ADAPTER in leave_out:
        given[ADAPTER] = None
    pipeline = load_pipeline(folder, device, **given)
    parts = [part for part in lora_parts(bundle.manifest["params"]) if part.folder not in leave_out]
    fuse(pipeline, [(bundle.component(part.folder), part.weight) for part in parts])
    return pipeline.to(device)


def fuse(pipeline: Any, loras: list[tuple[Path, float]]) -> None:
    from models_core.enhancer.lora import fuse_loras
    from models_core.enhancer.weights import lay_out

    if not loras:
        return
    components = {"unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    fuse_loras(components, loras)
    lay_out(pipeline.unet, channels_last=True)
    lay_out(pipeline.text_encoder)


def single_file_base(folder: Path, device: str) -> dict[str, Any]:
    """The base's components from `model.safetensors`. One of other sizes than Stable Diffusion's
    has its configurations beside it (`unet/config.json` and so on)."""
    from models_core.enhancer.checkpoint import load_single_file

    config = folder if (folder / "unet" / "config.json").is_file() else None
    base = load_single_file(folder / "model.safetensors", config)
    for module in base.modules():
        module.to(_precision(device))
    return {
        "unet": base.unet,
        "vae": base.vae,
        "text_encoder": base.text_encoder,
        "tokenizer": base.tokenizer,
        "scheduler": base.scheduler,
    }


def open_pipeline(folder: Path, device: str) -> Any:
    """The StyleDiffuserPipeline in `folder`, on the device and in its precision."""
    return load_pipeline(folder, device).to(device)


def load_pipeline(folder: Path, device: str, **given: Any) -> Any:
    """Still on the CPU, but in the device's precision; `given` components are taken instead of
    the folder's."""
    import torch
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from models_core.stylediffuser.pipeline import StyleDiffuserPipeline
    from models_core.stylediffuser.prototype import Prototype
    from models_core.stylegan2.checkpoint import WEIGHTS

    diffusers_logging.disable_progress_bar()  # a worker's log is no terminal
    transformers_logging.disable_progress_bar()
    if (folder / "prototype" / WEIGHTS).is_file():
        given["prototype"] = Prototype.from_checkpoint(folder / "prototype")
    # The prototype is small and its styles are sensitive to rounding: float32 everywhere.
    dtype = {"default": _precision(device), "prototype": torch.float32}
    pipeline = StyleDiffuserPipeline.from_pretrained(
        folder, dtype=dtype, local_files_only=True, **given
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _precision(device: str) -> Any:
    import torch

    return torch.float32 if device == "cpu" else torch.float16
