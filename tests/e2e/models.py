"""Weights for the pages to compose with: the shipped release, and other people's files in small.

Made with NumPy and converted for real; nothing here is ever drawn with.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from models_core.formats.convert import convert
from models_core.formats.stylegan2 import generator_shapes
from webgui.registry import loading, storage
from webgui.registry.models import Checkpoint

DEMO = Path(__file__).resolve().parents[2] / "models_core" / "releases" / "demo"
UNET = "model.diffusion_model."
GENERATOR: dict[str, Any] = {
    "z_dim": 64,
    "c_dim": 0,
    "w_dim": 64,
    "img_resolution": 128,
    "img_channels": 3,
    "mapping_kwargs": {"num_layers": 2},
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 64},
}


def stock(scratch: Path) -> str:
    """Fill the store; the shipped release's digest."""
    release, _ = loading.load_bundle(DEMO)
    scratch.mkdir(parents=True, exist_ok=True)
    for name, write in {
        "faces-128": _stylegan2,
        "anime-v1.safetensors": _stable_diffusion,
        "watercolour.safetensors": _lora_for_the_shipped_base,
        "pixel-art.safetensors": _lora_for_stable_diffusion,
    }.items():
        if not Checkpoint.objects.filter(name=name).exists():
            write(scratch / name)
            _shelve(scratch / name)
    return release.digest


def _shelve(source: Path) -> None:
    out = source.with_suffix(".converted")
    report = convert(source, out)
    files = [{"file": path.name, **storage.store(path)} for path in sorted(out.iterdir())]
    Checkpoint.objects.create(
        name=source.name, state="ready", size=sum(file["bytes"] for file in files),
        sha256=hashlib.sha256(source.name.encode()).hexdigest(),
        kind=report["kind"], report=report, files=files,
    )  # fmt: skip
    shutil.rmtree(out)
    if source.is_dir():
        shutil.rmtree(source)
    else:
        source.unlink()


def _stylegan2(target: Path) -> None:
    shapes = dict(generator_shapes(GENERATOR))
    target.mkdir()
    save_file({n: np.zeros(s, np.float16) for n, s in shapes.items()}, target / "model.safetensors")
    config = {"kind": "stylegan2", "generator": GENERATOR, "tags": {}, "rules": []}
    (target / "config.json").write_text(json.dumps(config))


def _stable_diffusion(target: Path) -> None:
    attention = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    names = {f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3), attention: (320, 768)}
    names |= {"first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3)}
    names |= {"cond_stage_model.transformer.text_model.encoder.weight": (8, 8)}
    state = {name: np.zeros(shape, np.float16) for name, shape in names.items()}
    save_file(state, target, {"modelspec.license": "CreativeML Open RAIL-M"})


def _lora_for_the_shipped_base(target: Path) -> None:
    _lora(target, "down_blocks_1", 96, 192, "watercolour")


def _lora_for_stable_diffusion(target: Path) -> None:
    _lora(target, "down_blocks_0", 320, 768, "pixel art")


def _lora(target: Path, block: str, width: int, text: int, trigger: str) -> None:
    layer = f"lora_unet_{block}_attentions_0_transformer_blocks_0_attn2_to_k"
    state = {
        f"{layer}.lora_down.weight": np.zeros((4, text), np.float16),
        f"{layer}.lora_up.weight": np.zeros((width, 4), np.float16),
        f"{layer}.alpha": np.array(4, np.float16),
    }
    save_file(state, target, {"modelspec.trigger_phrase": trigger, "modelspec.license": "CC0"})
