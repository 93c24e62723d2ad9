"""LoRA files in their three namings, brought to one: `COMPONENT.MODULE` with two matrices.

    diffusers  unet.down_blocks.0….processor.to_q_lora.down.weight, ….to_q.lora.down.weight
    peft       base_model.model.down_blocks.0….to_q.lora_A.weight, unet.down_blocks.0….lora_A.weight
    kohya      lora_unet_down_blocks_0_…_to_q.lora_down.weight beside ….alpha

W' = W + alpha / rank · B A (Hu 2021, §4.1), with A the "down" and B the "up" matrix.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from models_core.formats.diffusion import TEXT_WIDTHS, described
from models_core.formats.tensors import (
    Described,
    Weights,
    common_dtype,
    parameter_count,
    scalar,
)
from models_core.formats.verdicts import Incompatible, Unsupported, shown

PATTERNS = (
    ("kohya", re.compile(r"lora_(unet|te)_(?P<module>.+)\.lora_(?P<half>down|up)\.weight")),
    (
        "diffusers",
        re.compile(
            r"(?P<module>.+?)(?:\.processor)?\.(?P<leaf>to_[qkv]|to_out)_lora"
            r"\.(?P<half>down|up)\.weight"
        ),
    ),
    (
        "diffusers",
        re.compile(r"(?P<module>.+)\.(?:lora|lora_linear_layer)\.(?P<half>down|up)\.weight"),
    ),
    ("peft", re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])(?:\.default)?\.weight")),
)
PAIR_END = re.compile(r"[._]lora(_linear_layer)?[._](down|up|A|B)(\.[^.]+)?\.weight$")
ALPHA = re.compile(r"(?P<module>.+)\.alpha")
OTHER_KINDS = (
    ("hada_w1_a", "a LyCORIS LoHa"),
    ("lokr_w1", "a LyCORIS LoKr"),
    ("lokr_w1_a", "a LyCORIS LoKr"),
    ("dora_scale", "a DoRA"),
    ("lora_magnitude_vector", "a DoRA"),
    ("lora_mid.weight", "a LyCORIS LoCon with Tucker decomposition"),
    ("oft_blocks", "an OFT adapter"),
    ("diff", "a full-difference adapter"),
)
TRANSFORMERS = ("double_blocks", "single_blocks", "joint_blocks", "single_transformer_blocks")
# The names of Stable Diffusion's modules that hold an underscore of their own: kohya's naming
# writes dots as underscores too, so these have to be known.
WORDS = (
    *("down_blocks", "up_blocks", "mid_block", "transformer_blocks", "time_embedding"),
    *("to_q", "to_k", "to_v", "to_out", "proj_in", "proj_out", "conv_in", "conv_out"),
    *("conv_shortcut", "time_emb_proj", "linear_1", "linear_2"),
    *("text_model", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj"),
)
KOHYA_WORD = re.compile("|".join(sorted(WORDS, key=len, reverse=True)) + r"|[a-z0-9]+")
# Modules whose output is as wide as their block.
BLOCK = re.compile(
    r"unet\.((?:down|up)_blocks\.\d+|mid_block)\..+\.(?:attn[12]\.to_[qkv]|proj_in|conv[12])$"
)
ADAPTER_NOTES = "lora_adapter_metadata"  # where diffusers keeps peft's settings in a header
MAX_ALPHA = 1e6  # far beyond any that was trained with; also refuses what is no number
MOST_WORDS = 64  # trigger words that are told
# diffusers once named a text encoder's layers as a U-Net's.
TEXT_LEAVES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out.0": "out_proj"}
TEXT_LEAF = re.compile(r"(?<=self_attn\.)(to_q|to_k|to_v|to_out\.0)$")


@dataclass(frozen=True)
class Layer:
    """One module's change: `down` is [rank, in, …], `up` is [out, rank, …]."""

    down: Described
    up: Described
    alpha: Described | None = None
    key: str = ""  # what the file calls it

    @property
    def rank(self) -> int:
        return self.down.shape[0]


@dataclass(frozen=True)
class Lora:
    """A LoRA for a U-Net and perhaps its text encoder."""

    naming: str
    layers: dict[str, Layer]
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)  # peft's adapter_config.json

    def check(self) -> None:
        for name, layer in self.layers.items():
            down, up = layer.down.shape, layer.up.shape
            if len(down) not in (2, 4) or len(down) != len(up) or not down[0] == up[1] > 0:
                raise Incompatible(
                    f"the two matrices of {name} do not fit: {list(down)} and {list(up)}"
                )
            if not abs(self.alpha(name)) <= MAX_ALPHA:
                raise Incompatible(f"the alpha of {name} is {self.alpha(name)}")
        if self.family == "sdxl":
            raise Unsupported("a LoRA for Stable Diffusion XL")

    @property
    def family(self) -> str | None:
        """By the width of the text that cross-attention reads, else by what kohya noted."""
        for name, layer in self.layers.items():
            if name.startswith("unet.") and name.endswith(("attn2.to_k", "attn2.to_v")):
                return TEXT_WIDTHS.get(layer.down.shape[1])
        noted = str(self.metadata.get("ss_base_model_version", ""))
        for mark, family in (("sdxl", "sdxl"), ("sd_v2", "sd2"), ("sd_v1", "sd1")):
            if noted.startswith(mark):
                return family
        return None

    def alpha(self, name: str) -> float:
        """A layer's alpha: its own, else what the file notes for all, else its rank."""
        layer = self.layers[name]
        if layer.alpha is not None:
            return scalar(layer.alpha)
        component, _, path = name.partition(".")
        table = self.notes.get(component, self.notes.get("", {}))
        alpha = _noted(table, "lora_alpha")
        found = table.get("alpha_pattern")
        own: dict[str, Any] = found if isinstance(found, dict) else {}
        for end in own:  # peft takes these for patterns; a file's are not run, only compared
            if f".{path}".endswith(f".{end.removeprefix('^')}"):
                alpha = _noted(own, end)
        if alpha is None:
            return float(layer.rank)
        # Rank-stabilised LoRA (Kalajdzievski 2023) divides by the root of the rank.
        return alpha * math.sqrt(layer.rank) if table.get("use_rslora") else alpha

    @cached_property
    def notes(self) -> dict[str, dict[str, Any]]:
        """peft's settings: of all ("" ) from beside the file, or by component from its header."""
        found: dict[str, dict[str, Any]] = {"": dict(self.config)} if self.config else {}
        for key, value in _table(self.metadata.get(ADAPTER_NOTES)).items():
            component, _, setting = key.partition(".")
            found.setdefault(component, {})[setting] = value
        return found

    @property
    def text_width(self) -> int | None:
        for name, layer in self.layers.items():
            if name.startswith("unet.") and name.endswith(("attn2.to_k", "attn2.to_v")):
                return layer.down.shape[1]
        return None

    @property
    def channels(self) -> dict[str, int]:
        """The width of each of the U-Net's blocks that it changes, for what must agree."""
        found = {}
        for name, layer in self.layers.items():
            if match := BLOCK.match(name):
                found[match[1]] = layer.up.shape[0]
        return found

    def report(self) -> dict[str, Any]:
        weights = {
            f"{n}.{h}": getattr(v, h) for n, v in self.layers.items() for h in ("down", "up")
        }
        ranks = Counter(layer.rank for layer in self.layers.values())
        targets = Counter(leaf(name) for name in self.layers)
        return {
            "kind": "lora",
            "architecture": f"LoRA ({self.naming} names)",
            "family": self.family,
            "conditioning": {"text": self.text_width},
            "channels": self.channels,
            "parameters": parameter_count(weights),
            "dtype": common_dtype(weights),
            "naming": self.naming,
            "rank": ranks.most_common(1)[0][0],
            "ranks": sorted(ranks),
            "targets": dict(sorted(targets.items())),
            "components": sorted({name.partition(".")[0] for name in self.layers}),
            "alpha": Counter(self.alpha(name) for name in self.layers).most_common(1)[0][0],
            "trigger_words": trigger_words(self.metadata),
            "training": training(self.metadata),
            **described(self.metadata),
        }


def _noted(table: Mapping[str, Any], key: str) -> float | None:
    if table.get(key) is None:
        return None
    try:
        return float(table[key])
    except (TypeError, ValueError):
        raise Incompatible(f"its {key} is {shown(table[key])}, which is no number") from None


def leaf(name: str) -> str:
    """The kind of module: `to_q`, `proj_in`; a number at the end is not its name."""
    parts = [part for part in name.split(".") if not part.isdigit()]
    return parts[-1]


def is_lora(names: Weights) -> bool:
    return any("lora" in name or _other_kind(name) for name in names)


def read_lora(
    weights: Weights,
    metadata: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Lora:
    """Every pair of matrices by its module's name in diffusers' models."""
    for name in weights:
        if name.startswith(("lora_te1_", "lora_te2_", "text_encoder_2.")):
            raise Unsupported("a LoRA for Stable Diffusion XL")
        if any(mark in name for mark in TRANSFORMERS):
            raise Unsupported("a LoRA for a diffusion transformer, such as Flux or SD 3")
    for name in weights:
        if what := _other_kind(name):
            raise Unsupported(what, "only plain LoRA is used")
    halves: dict[str, dict[str, Described]] = {}
    keys: dict[str, str] = {}
    namings: Counter[str] = Counter()
    for name, value in weights.items():
        naming, module, half = _parse(name)
        if naming:
            namings[naming] += 1
            keys.setdefault(module, PAIR_END.sub("", name))
        halves.setdefault(module, {})[half] = value
    layers = {}
    for module, parts in sorted(halves.items()):
        if not {"down", "up"} <= parts.keys():
            missing = "down" if "up" in parts else "up"
            raise Incompatible(f"{module} lacks its {missing} matrix")
        layers[module] = Layer(parts["down"], parts["up"], parts.get("alpha"), keys[module])
    if len(namings) != 1:
        raise Incompatible(f"it mixes the namings of {' and '.join(sorted(namings))}")
    return Lora(next(iter(namings)), layers, metadata or {}, config or {})


def _parse(name: str) -> tuple[str | None, str, str]:
    """(naming, module in one naming, "down", "up" or "alpha")."""
    for naming, pattern in PATTERNS:
        if match := pattern.fullmatch(name):
            half = {"A": "down", "B": "up"}.get(match["half"], match["half"])
            module = match["module"]
            if "leaf" in match.groupdict():
                module = f"{module}.{match['leaf']}{'.0' if match['leaf'] == 'to_out' else ''}"
            return naming, unify(module, match.group(1) if naming == "kohya" else None), half
    if match := ALPHA.fullmatch(name):
        module = match["module"]
        if kohya := re.fullmatch(r"lora_(unet|te)_(.+)", module):
            return None, unify(kohya[2], kohya[1]), "alpha"
        return None, unify(module.removesuffix(".lora"), None), "alpha"
    raise Incompatible(f"it holds {name[:120]!r}, which is no part of a LoRA")


def unify(module: str, kohya: str | None) -> str:
    """A module's path with its component in front: `unet.…` or `text_encoder.…`."""
    if kohya is not None:
        if module.startswith(("input_blocks_", "middle_block_", "output_blocks_")):
            raise Unsupported("a LoRA that names the original code's blocks")
        path = ".".join(KOHYA_WORD.findall(module))
        return f"{'unet' if kohya == 'unet' else 'text_encoder'}.{path}"
    module = module.removeprefix("base_model.model.")
    if module.startswith("text_encoder."):
        return TEXT_LEAF.sub(lambda found: TEXT_LEAVES[found[1]], module)
    if module.startswith("unet."):
        return module
    own = ("text_model.", "encoder.layers.")  # with and without the level that CLIP once had
    return f"{'text_encoder' if module.startswith(own) else 'unet'}.{module}"


def _other_kind(name: str) -> str | None:
    last = name.rpartition(".")[2]
    for mark, what in OTHER_KINDS:
        if last == mark or name.endswith(f".{mark}"):
            return what
    return None


def trigger_words(metadata: Mapping[str, Any]) -> list[str]:
    """What the training captions said most, by kohya's `ss_tag_frequency` and ModelSpec."""
    phrase = metadata.get("modelspec.trigger_phrase")
    words = [phrase[:200]] if isinstance(phrase, str) and phrase else []
    counts: Counter[str] = Counter()
    for folder, tags in _table(metadata.get("ss_tag_frequency")).items():
        token = folder.partition("_")[2]  # folders are called REPEATS_TOKEN
        if token and token not in words and len(token) < 200:
            words.append(token)
        for tag, count in tags.items() if isinstance(tags, dict) else ():
            if isinstance(count, int) and len(tag) < 200:
                counts[tag.strip()] += count
    words += [tag for tag, _ in counts.most_common(MOST_WORDS) if tag and tag not in words]
    return words[:MOST_WORDS]


def training(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """kohya's plain `ss_…` notes, without the prefix."""
    return dict(_plain_notes(metadata))


def _plain_notes(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in sorted(metadata.items()):
        if name.startswith("ss_") and isinstance(value, str) and len(value) <= 200:
            yield name.removeprefix("ss_"), value


def _table(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
