"""LoRA (Hu 2021) of others: matched to a model's layers, and fused at load.

Names are read by `models_core.formats.lora`, the one parser of the three namings. A module found
there is looked up among the model's own layers, so what matches is right by construction, and
what does not is known by the name that the file has for it. Applying and fusing is peft's:
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

from models_core.enhancer.weights import WeightsError, shorten
from models_core.formats.header import read_header
from models_core.formats.loading import cast, to_numpy
from models_core.formats.lora import ADAPTER_NOTES, Lora, read_lora
from models_core.formats.spans import open_span
from models_core.formats.tensors import Described
from models_core.formats.verdicts import Refused

FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
ADAPTER = "default"
log = logging.getLogger(__name__)


class LoraError(WeightsError):
    """The LoRA cannot be applied to this model; the message says why."""


@dataclass(frozen=True)
class Pair:
    """One layer's low-rank matrices: down (A) [r, in, …], up (B) [out, r, …]."""

    down: Tensor
    up: Tensor
    alpha: float


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
    layers = known_layers(components)
    found: dict[str, dict[str, Pair]] = {}
    failed = []
    for module, (key, pair) in read_pairs(file).items():
        place = layers.get(collapsed(module))
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


def read_pairs(file: Path) -> dict[str, tuple[str, Pair]]:
    """A file's pairs by module, `unet.…` or `text_encoder.…`, each with the file's own name."""
    try:
        with open_span(file) as span:
            header = read_header(span)
            lora = read_lora(header.tensors, header.metadata, config_beside(file))
            lora.check()
            return {name: (lora.layers[name].key, read_pair(lora, name)) for name in lora.layers}
    except (Refused, OSError) as error:
        raise LoraError(f"{file}: {error}") from error


def read_pair(lora: Lora, name: str) -> Pair:
    layer = lora.layers[name]
    down, up = numbers(layer.key, layer.down), numbers(layer.key, layer.up)
    return Pair(down, up, lora.alpha(name))


def numbers(key: str, value: Described) -> Tensor:
    found = torch.from_numpy(cast(to_numpy(value), value.dtype, "float32").copy())
    if not found.isfinite().all():
        raise LoraError(f"{key} is not finite")
    return found


def config_beside(file: Path) -> dict[str, Any]:
    """peft's settings, which it keeps in a file of their own."""
    beside = file.with_name("adapter_config.json")
    if file.name != FILES[1] or not beside.is_file():
        return {}
    try:
        return dict(json.loads(beside.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise LoraError(f"{beside} is unreadable: {error}") from error


def known_layers(components: Mapping[str, nn.Module]) -> dict[str, tuple[str, str]]:
    """Every layer that a LoRA can change, by its collapsed name → (component, layer)."""
    found: dict[str, tuple[str, str]] = {}
    for component, module in components.items():
        # transformers took the level text_model out of CLIP's text encoder; files have it.
        levels = ("", "text_model.") if component == "text_encoder" else ("",)
        for layer, part in module.named_modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                for level in levels:
                    found[collapsed(f"{component}.{level}{layer}")] = (component, layer)
    return found


def collapsed(name: str) -> str:
    """kohya's naming writes dots as underscores too, so names are compared as it writes them."""
    return name.replace(".", "_")


def fit_pair(module: nn.Module, layer: str, pair: Pair) -> Pair | None:
    """The pair in the layer's shape, or None where its sizes are other ones."""
    target: Any = module.get_submodule(layer)
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
    ranks = {layer: pair.down.shape[0] for layer, pair in pairs.items()}
    alphas = {layer: pair.alpha for layer, pair in pairs.items()}
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
    save_file(state, file, metadata={"format": "pt", ADAPTER_NOTES: json.dumps(stated)})
    return file
