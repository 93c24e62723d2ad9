"""LoRA (Hu 2021) of others: read in any of three namings, matched to layers, fused at load.

    diffusers  unet.down_blocks.0.….attn1.to_q.lora.down.weight, …processor.to_q_lora.up.weight
    peft       base_model.model.down_blocks.0.….attn1.to_q.lora_A.weight, with adapter_config.json
    kohya      lora_unet_down_blocks_0_…_attn1_to_q.lora_down.weight, ….alpha

A name is looked up among the model's own layers instead of being rewritten by rules, so what
matches is right by construction and what does not is known by name. Applying and fusing is peft's:
W ← W + weight · alpha/rank · B A.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor, nn

from models_core.enhancer.weights import WeightsError, read_tensors, shorten

FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
METADATA = "lora_adapter_metadata"  # diffusers' key in a safetensors header
ADAPTER = "default"
PART = re.compile(
    r"(?P<layer>.+?)[._](?:lora|lora_linear_layer)[._](?P<part>A|B|down|up)"
    r"(?:\.[^.]+)?\.weight"
)
OLD_PROCESSOR = re.compile(r"\.processor\.(to_(?:q|k|v|out))$")
OTHER_KINDS = {"hada_w": "LoHa", "lokr_w": "LoKr", "lora_mid": "Tucker", "dora_scale": "DoRA"}
OTHER_KINDS |= {"lora_magnitude_vector": "DoRA", "oft_": "OFT"}
log = logging.getLogger(__name__)


class LoraError(WeightsError):
    """The LoRA cannot be applied to this model; the message says why."""


@dataclass
class Pair:
    """One layer's low-rank matrices: down (A) [r, in, …], up (B) [out, r, …]."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: float | None = None


@dataclass(frozen=True)
class Fused:
    """What became of one LoRA: the layers it changed, and the keys that fit none."""

    applied: list[str]
    failed: list[str] = field(default_factory=list)


def fuse_loras(
    components: Mapping[str, nn.Module], loras: Sequence[tuple[Path, float]]
) -> list[Fused]:
    """Add LoRAs to the weights of `components`, each with its own weight, in the order given.

    All files are read and matched before any weight is touched.

    Args:
        components: the modules that may be changed, by diffusers' names: "unet", "text_encoder".
        loras: (a file, or a folder with one; its weight: 1 as trained, 0 nothing, may be negative).

    Raises:
        LoraError: a file is unreadable, or of another kind, or none of its keys fits a layer.
    """
    matched = [match(Path(path), components) for path, _ in loras]
    for (_, weight), (found, _) in zip(loras, matched, strict=True):
        for name, pairs in found.items() if weight else ():
            fuse(components[name], pairs, weight)
    return [
        Fused([f"{name}.{layer}" for name, pairs in found.items() for layer in pairs], failed)
        for found, failed in matched
    ]


def match(
    path: Path, components: Mapping[str, nn.Module]
) -> tuple[dict[str, dict[str, Pair]], list[str]]:
    """A file's pairs by component and layer, and the keys that fit none."""
    file = find_file(path)
    pairs = read_pairs(file)
    layers = known_layers(components)
    found: dict[str, dict[str, Pair]] = {}
    failed = []
    for key, pair in pairs.items():
        place = next((layers[n] for n in spellings(key) if n in layers), None)
        fitted = None if place is None else fit_pair(components[place[0]], place[1], pair)
        if place is None or fitted is None:
            failed.append(key if place is None else f"{key} (other sizes)")
        else:
            found.setdefault(place[0], {})[place[1]] = fitted
    if not found:
        keys = shorten(failed) or "no keys"
        raise LoraError(f"{file} fits no layer of this model; what it has: {keys}")
    if failed:
        log.warning("%s: %d of its layers fit none: %s", file, len(failed), shorten(failed))
    return found, failed


def find_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in FILES:
        if (path / name).is_file():
            return path / name
    raise LoraError(f"{path} holds neither {' nor '.join(FILES)}")


def read_pairs(file: Path) -> dict[str, Pair]:
    """A file's pairs by the layer's name as the file spells it, with the alphas it states."""
    tensors, metadata = read_tensors(file)
    pairs: dict[str, Pair] = {}
    for key, value in tensors.items():
        for mark, kind in OTHER_KINDS.items():
            if mark in key:
                raise LoraError(f"{file} is of the kind {kind} ({key}); only plain LoRA is read")
        if not value.isfinite().all():
            raise LoraError(f"{file}: {key} is not finite")
        if key.endswith(".alpha") and value.numel() == 1:
            pairs.setdefault(key.removesuffix(".alpha"), Pair()).alpha = float(value)
        elif (matched := PART.fullmatch(key)) and value.ndim >= 2:
            pair = pairs.setdefault(matched["layer"], Pair())
            if matched["part"] in ("A", "down"):
                pair.down = value.float()
            else:
                pair.up = value.float()
        else:
            pairs.setdefault(key, Pair())  # reported as a key that fits no layer
    scaling = stated_scaling(file, metadata)
    for key, pair in pairs.items():
        if pair.alpha is None and pair.down is not None:
            pair.alpha = scaling(key, pair.down.shape[0])
    return pairs


def stated_scaling(file: Path, metadata: Mapping[str, str]) -> Any:
    """(layer, rank) → alpha, from the configuration in the header or beside the file; alpha is
    the rank (a scale of 1) where nothing is stated."""
    try:
        table = json.loads(metadata.get(METADATA, "{}"))
        beside = file.with_name("adapter_config.json")
        if not table and file.name == FILES[1] and beside.is_file():
            table = json.loads(beside.read_text(encoding="utf-8"))
        configs = {
            prefix: {k.removeprefix(prefix): v for k, v in table.items() if k.startswith(prefix)}
            for prefix in ("unet.", "text_encoder.", "")
        }
    except (ValueError, AttributeError) as error:
        raise LoraError(f"{file}: its configuration is unreadable: {error}") from error

    def alpha(layer: str, rank: int) -> float:
        prefix = next(p for p in configs if layer.startswith(p))
        config = configs[prefix]
        value = config.get("lora_alpha", rank)
        # peft takes these names for patterns; a file's are not run, only compared.
        for name, own in (config.get("alpha_pattern") or {}).items():
            if f".{layer}".endswith(f".{name.removeprefix('^')}"):
                value = own
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise LoraError(f"{file}: the alpha of {layer} is {value!r}, which is no number")
        # rsLoRA scales by alpha/√r where LoRA scales by alpha/r.
        return value * rank**0.5 if config.get("use_rslora") else float(value)

    return alpha


def known_layers(components: Mapping[str, nn.Module]) -> dict[str, tuple[str, str]]:
    """Every spelling of every layer that a LoRA can change → (component, layer)."""
    kohya = {"unet": ("lora_unet",), "text_encoder": ("lora_te", "lora_te1")}
    found: dict[str, tuple[str, str]] = {}
    for component, module in components.items():
        for layer, part in module.named_modules():
            if not isinstance(part, nn.Linear | nn.Conv2d):
                continue
            # transformers took the level text_model out of CLIP's text encoder; files have it.
            for prefix in ("", "text_model.") if component == "text_encoder" else ("",):
                name = f"{prefix}{layer}"
                shorts = [f"{short}_{name.replace('.', '_')}" for short in kohya[component]]
                for spelling in (name, f"{component}.{name}", *shorts):
                    found[spelling] = (component, layer)
    return found


def spellings(key: str) -> list[str]:
    """The names under which a file's key may be known."""
    key = key.removeprefix("base_model.model.")
    key = OLD_PROCESSOR.sub(r".\1", key)
    key = re.sub(r"\.to_out$", ".to_out.0", key)
    old = re.sub(r"self_attn\.to_(q|k|v)$", r"self_attn.\1_proj", key)
    return [key, old.replace("self_attn.to_out.0", "self_attn.out_proj")]


def fit_pair(module: nn.Module, layer: str, pair: Pair) -> Pair | None:
    """The pair in the layer's shape, or None where its sizes are other ones."""
    target: Any = module.get_submodule(layer)
    if pair.down is None or pair.up is None:
        return None
    down, up = pair.down, pair.up
    if isinstance(target, nn.Conv2d):  # a 1×1 convolution may come as a matrix, and a matrix as one
        down = down[:, :, None, None] if down.ndim == 2 else down
        up = up[:, :, None, None] if up.ndim == 2 else up
        expected = (target.in_channels // target.groups, *target.kernel_size)
        fits = tuple(down.shape[1:]) == expected and up.shape[2:] == (1, 1)
        fits = fits and up.shape[0] == target.out_channels
    else:
        down = down[:, :, 0, 0] if down.shape[2:] == (1, 1) else down
        up = up[:, :, 0, 0] if up.shape[2:] == (1, 1) else up
        fits = down.ndim == up.ndim == 2 and down.shape[1] == target.in_features
        fits = fits and up.shape[0] == target.out_features
    if not fits or up.shape[1] != down.shape[0]:
        return None
    return Pair(down, up, pair.alpha)


@torch.no_grad()
def fuse(module: nn.Module, pairs: Mapping[str, Pair], weight: float) -> None:
    """Add pairs to the module's weights through peft, and leave no trace of peft in it."""
    exact = {layer: f"^{re.escape(layer)}" for layer in pairs}
    ranks = {layer: pair.down.shape[0] for layer, pair in pairs.items() if pair.down is not None}
    alphas = {layer: pair.alpha or 0.0 for layer, pair in pairs.items()}
    config = LoraConfig(
        target_modules="|".join(f"(?:{re.escape(layer)})" for layer in pairs),
        rank_pattern={exact[layer]: rank for layer, rank in ranks.items()},
        alpha_pattern={exact[layer]: alpha * weight for layer, alpha in alphas.items()},
    )
    inject_adapter_in_model(config, module, adapter_name=ADAPTER)
    state = {f"{layer}.lora_A.weight": pair.down for layer, pair in pairs.items()}
    state |= {f"{layer}.lora_B.weight": pair.up for layer, pair in pairs.items()}
    set_peft_model_state_dict(module, state, adapter_name=ADAPTER)
    for name, part in list(module.named_modules()):
        if isinstance(part, BaseTunerLayer):
            part.merge(safe_merge=True)
            parent, _, own = name.rpartition(".")
            setattr(module.get_submodule(parent), own, part.get_base_layer())
    if hasattr(module, "peft_config"):
        del module.peft_config


def save_lora(unet: Any, folder: Path) -> Path:
    """The active LoRA of a UNet as an adapter folder in diffusers' naming, its alpha included."""
    folder.mkdir(parents=True, exist_ok=True)
    config = unet.peft_config[ADAPTER]
    state = {
        f"unet.{key}": value.contiguous()
        for key, value in get_peft_model_state_dict(unet, adapter_name=ADAPTER).items()
    }
    stated = {"unet.r": config.r, "unet.lora_alpha": config.lora_alpha}
    stated["unet.target_modules"] = sorted(config.target_modules)
    file = folder / FILES[0]
    save_file(state, file, metadata={"format": "pt", METADATA: json.dumps(stated)})
    return file
