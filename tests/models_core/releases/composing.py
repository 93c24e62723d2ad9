"""Bundles put together of parts that were never trained together, all real and tiny."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models_core.critic.critic import Critic
from models_core.critic.network import CriticNetwork
from models_core.releases.build import build_release
from models_core.stylegan2 import Generator, checkpoint
from models_core.upscale.network import CompactNetwork
from models_core.upscale.upscaler import Upscaler
from tests.models_core.enhancer.test_lora import make_enhancer, pairs

INDEX = {
    "_class_name": "StyleDiffuserPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "adapter": [None, None],
}
# Nothing of these agrees with `make_enhancer`'s sizes, nor has to.
GENERATOR = {
    "z_dim": 6,
    "c_dim": 3,
    "w_dim": 12,
    "img_resolution": 32,
    "mapping_kwargs": {"num_layers": 1},
    "synthesis_kwargs": {"channel_base": 128, "channel_max": 16},
}


def write_parts(folder: Path) -> Path:
    """`pipeline/`, `critic/`, `upscaler/`, `lora/` and `other/` (for another base) in a folder."""
    enhancer = make_enhancer()
    enhancer.save(folder / "pipeline")
    (folder / "pipeline" / "model_index.json").write_text(json.dumps(INDEX))
    torch.manual_seed(0)
    generator = Generator(**GENERATOR)
    checkpoint.save(GENERATOR, generator.state_dict(), folder / "pipeline" / "prototype")
    Critic(CriticNetwork(32, (8, 8))).save(folder / "critic")
    Upscaler(CompactNetwork(features=4, layers=1, factor=4)).save(folder / "upscaler")
    write_lora(folder / "lora", pairs(enhancer))
    write_lora(folder / "other", {("unet", "mid_block.attentions.7.proj_in"): (ONE, ONE)})
    return folder


ONE = torch.ones(2, 2)


def write_lora(folder: Path, made: Mapping[Any, Any]) -> None:
    folder.mkdir()
    state = {}
    for (component, layer), (down, up) in made.items():
        state[f"{component}.{layer}.lora_A.weight"] = down.clone()
        state[f"{component}.{layer}.lora_B.weight"] = up.clone()
    save_file(state, folder / "pytorch_lora_weights.safetensors")


def bundle(folder: Path, components: Mapping[str, Path], **params: Any) -> Path:
    made = build_release(
        folder,
        components,
        name="composed",
        title="Composed",
        tags={},
        params={"steps": 2, "strength": 0.6, **params},
        licences=[],
    )
    return made.folder
