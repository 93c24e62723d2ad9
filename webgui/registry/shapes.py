"""The sizes of a release's parts, as their own JSON files tell them: what must agree, and what not.

The files lie in the store under their digests and never change, so each is read once. A part whose
sizes cannot be told raises `Untold`: it cannot be composed with, and the message says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from . import storage

LARGEST = 4 * 2**20  # bytes of a configuration
Residuals = tuple[tuple[int, int], ...]


class Untold(ValueError):
    """The part's files do not tell its sizes; the message says what is wrong."""


@dataclass(frozen=True)
class Prototype:
    resolution: int
    w_dim: int
    num_ws: int
    channels: Mapping[int, int]  # of the feature maps, by resolution
    labels: int
    tags: frozenset[str]
    # Groups with shares, where the StyleGAN2's own training noted them.
    groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rules: Sequence[Any] = ()


@dataclass(frozen=True)
class Base:
    resolution: int
    text: int  # channels that cross-attention reads
    residuals: Residuals
    inner: tuple[int, ...]
    blocks: Mapping[str, int]


@dataclass(frozen=True)
class Adapter:
    w_dim: int
    num_ws: int
    channels: Mapping[int, int]
    text: int
    residuals: Residuals
    inner: tuple[int, ...]


@dataclass(frozen=True)
class Lora:
    text: int | None
    blocks: Mapping[str, int]
    rank: int | None
    triggers: tuple[str, ...]


@dataclass(frozen=True)
class Critic:
    resolution: int


@dataclass(frozen=True)
class Upscaler:
    factor: int


Shape = Prototype | Base | Adapter | Lora | Critic | Upscaler


def read(slot: str, files: Mapping[str, str]) -> Shape:
    """The sizes of a part, of its files' digests by their paths inside it."""
    try:
        return READERS[slot](files)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        if isinstance(error, Untold):
            raise
        raise Untold(f"Its configuration cannot be read ({error!r}).") from error


def _prototype(files: Mapping[str, str]) -> Prototype:
    config = _json(files, "config.json")
    generator = config["generator"]
    resolution = generator["img_resolution"]
    synthesis = generator.get("synthesis_kwargs") or {}
    base, most = synthesis.get("channel_base", 32768), synthesis.get("channel_max", 512)
    sizes = [4 << step for step in range(resolution.bit_length() - 2)]
    named = config.get("tags") or {}
    groups = named if isinstance(named, dict) else {}
    return Prototype(
        resolution=resolution,
        w_dim=generator["w_dim"],
        num_ws=2 * (resolution.bit_length() - 2),
        channels={size: min(base // size, most) for size in sizes},
        labels=generator["c_dim"],
        tags=frozenset(tag for group in groups.values() for tag in group) or frozenset(named),
        groups=groups,
        rules=config.get("rules", ()),
    )


def _base(files: Mapping[str, str]) -> Base:
    if "unet/config.json" in files:
        unet = _json(files, "unet/config.json")
        levels = len(_json(files, "vae/config.json")["block_out_channels"])
    else:
        unet, levels = _json(files, "config.json").get("unet") or {}, 4
        if not unet:
            raise Untold(
                "A single file of other sizes than Stable Diffusion 1.x or 2.x does not bring its "
                "configuration: upload it as a zipped diffusers folder."
            )
    return Base(
        resolution=unet["sample_size"] << (levels - 1),
        text=unet["cross_attention_dim"],
        residuals=tuple(_residuals(unet)),
        inner=tuple(_attended(unet)),
        blocks=_blocks(unet),
    )


def _residuals(unet: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """(channels, size) of each skip of the down path, then of the middle."""
    size, widths = unet["sample_size"], unet["block_out_channels"]
    yield widths[0], size
    for level, width in enumerate(widths):
        yield from [(width, size)] * unet["layers_per_block"]
        if level < len(widths) - 1:
            size //= 2
            yield width, size
    yield widths[-1], size


def _attended(unet: Mapping[str, Any]) -> Iterator[int]:
    """The width of each cross-attention: of the way down, of the way up, of the middle."""
    widths, layers = unet["block_out_channels"], unet["layers_per_block"]
    depth = unet.get("transformer_layers_per_block") or 1
    for kinds, order, count in (
        (unet["down_block_types"], widths, layers),
        (unet["up_block_types"], widths[::-1], layers + 1),
    ):
        for kind, width in zip(kinds, order, strict=True):
            if "CrossAttn" in kind:
                yield from [width] * (count * depth)
    yield from [widths[-1]] * depth


def _blocks(unet: Mapping[str, Any]) -> dict[str, int]:
    widths = unet["block_out_channels"]
    found = {f"down_blocks.{level}": width for level, width in enumerate(widths)}
    found |= {f"up_blocks.{level}": width for level, width in enumerate(widths[::-1])}
    return {**found, "mid_block": widths[-1]}


def _adapter(files: Mapping[str, str]) -> Adapter:
    config = _json(files, "config.json")
    return Adapter(
        w_dim=config["w_dim"],
        num_ws=config["num_ws"],
        channels={int(size): count for size, count in config["feature_channels"].items()},
        text=config["token_dim"],
        residuals=tuple((channels, size) for channels, size in config["residuals"]),
        inner=tuple(config["inner_dims"]),
    )


def _lora(files: Mapping[str, str]) -> Lora:
    report = _json(files, "config.json") if "config.json" in files else {}
    return Lora(
        text=(report.get("conditioning") or {}).get("text"),
        blocks=report.get("channels") or {},
        rank=report.get("rank"),
        triggers=tuple(report.get("trigger_words") or ()),
    )


def _critic(files: Mapping[str, str]) -> Critic:
    return Critic(_json(files, "config.json")["size"])


def _upscaler(files: Mapping[str, str]) -> Upscaler:
    return Upscaler(_json(files, "config.json")["factor"])


READERS: dict[str, Callable[[Mapping[str, str]], Shape]] = {
    "prototype": _prototype,
    "base": _base,
    "adapter": _adapter,
    "lora": _lora,
    "critic": _critic,
    "upscaler": _upscaler,
}


def _json(files: Mapping[str, str], name: str) -> dict[str, Any]:
    if name not in files:
        raise Untold(f"It has no {name}.")
    try:
        return stored_json(files[name])
    except OSError as error:
        raise Untold(f"Its {name} is not in the store ({error.strerror}).") from error


@lru_cache(maxsize=1024)
def stored_json(sha256: str) -> dict[str, Any]:
    """A JSON table in the store. Whoever gets it must not change it."""
    path = storage.place(sha256)
    if path.stat().st_size > LARGEST:
        raise ValueError(f"more than {LARGEST} bytes")
    found = json.loads(path.read_bytes())
    if not isinstance(found, dict):
        raise ValueError("no table")
    return found
