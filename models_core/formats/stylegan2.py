"""What a StyleGAN2's weights tell of its configuration, by our (that is NVIDIA's) names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from models_core.formats.tensors import Described, Weights, common_dtype, parameter_count
from models_core.formats.verdicts import Incompatible

LR_MULTIPLIER = 0.01  # of the mapping network, in every trainer's default
MAX_RESOLUTION = 4096
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Stylegan2:
    """Networks found in somebody's file, by our names and with our classes' arguments.

    `derived` names tensors that the file lacks and conversion computes (rosinality's ŵ).
    """

    origin: str
    generator: dict[str, Any]
    weights: dict[str, Described]
    discriminator: dict[str, Any] | None = None
    discriminator_weights: dict[str, Described] = field(default_factory=dict)
    derived: frozenset[str] = frozenset()
    trained_on: dict[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        generator = self.generator
        return {
            "kind": "stylegan2",
            "architecture": self.origin,
            "resolution": generator["img_resolution"],
            "conditioning": {"label": generator["c_dim"]},
            "parameters": parameter_count(self.weights),
            "dtype": common_dtype(self.weights),
            "generator": generator,
            "discriminator": self.discriminator,
            "trained_on": self.trained_on,
        }

    def check(self) -> None:
        """Incompatible where a tensor is missing, too many or of another shape."""
        expected = dict(generator_shapes(self.generator))
        for name in self.derived:
            expected.pop(name)
        compare("generator", self.weights, expected)
        if self.discriminator is not None:
            expected = dict(discriminator_shapes(self.discriminator))
            compare("discriminator", self.discriminator_weights, expected)


def generator_config(
    weights: Weights, *, lr_multiplier: float = LR_MULTIPLIER, conv_clamp: float | None = None
) -> dict[str, Any]:
    """`Generator`'s arguments. What no tensor shows is given by the caller."""
    resolutions = _resolutions(weights, "synthesis.b{}.conv1.weight")
    channels = {r: _dim(weights, f"synthesis.b{r}.conv1.weight", 0) for r in resolutions}
    layers = _mapping_layers(weights)
    w_dim = _dim(weights, "mapping.fc0.weight", 0)
    labels = weights.get("mapping.embed.weight")
    c_dim = labels.shape[1] if labels is not None and len(labels.shape) == 2 else 0
    z_dim = _dim(weights, "mapping.fc0.weight", 1) - (w_dim if c_dim else 0)
    colours = _dim(weights, "synthesis.b4.torgb.weight", 0)
    if z_dim < 1 or colours != 3:
        raise Incompatible(f"it draws pictures of {colours} channels, not 3, from {z_dim} numbers")
    base, most = channel_rule(channels)
    synthesis: dict[str, Any] = {
        "channel_base": base,
        "channel_max": most,
        "use_noise": "synthesis.b4.conv1.noise_const" in weights,
    }
    if conv_clamp is not None:
        synthesis["conv_clamp"] = conv_clamp
    return {
        "z_dim": z_dim,
        "c_dim": c_dim,
        "w_dim": w_dim,
        "img_resolution": resolutions[-1],
        "img_channels": colours,
        "mapping_kwargs": {"num_layers": layers, "lr_multiplier": lr_multiplier},
        "synthesis_kwargs": synthesis,
    }


def discriminator_config(
    weights: Weights, *, conv_clamp: float | None = None, mbstd_group_size: int = 4
) -> dict[str, Any]:
    """`Discriminator`'s arguments."""
    resolutions = [4, *_resolutions(weights, "b{}.conv0.weight", first=8)]
    channels = {r: _dim(weights, f"b{r}.conv0.weight", 0) for r in resolutions[1:]}
    channels[4] = _dim(weights, "b4.conv.weight", 0)
    base, most = channel_rule(channels)
    labels = weights.get("mapping.embed.weight")
    config = {
        "c_dim": labels.shape[1] if labels is not None and len(labels.shape) == 2 else 0,
        "img_resolution": resolutions[-1],
        "img_channels": _dim(weights, f"b{resolutions[-1]}.fromrgb.weight", 1),
        "channel_base": base,
        "channel_max": most,
        "mbstd_group_size": mbstd_group_size,
    }
    return config if conv_clamp is None else {**config, "conv_clamp": conv_clamp}


def channel_rule(channels: Mapping[int, int]) -> tuple[int, int]:
    """(channel_base, channel_max) such that every block has min(base // resolution, max)."""
    most = max(channels.values())
    base = max(resolution * count for resolution, count in channels.items())
    for resolution, count in channels.items():
        if min(base // resolution, most) != count:
            raise Incompatible(
                f"its blocks have {', '.join(f'{c} channels at {r}' for r, c in channels.items())};"
                " ours halve with each doubling of the size, up to a maximum"
            )
    return base, most


def generator_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every tensor in the state of `Generator(**config)`, without torch."""
    w_dim, synthesis = config["w_dim"], config["synthesis_kwargs"]
    mapping = config["mapping_kwargs"]["num_layers"]
    yield from _mapping_shapes("mapping.", config["z_dim"], config["c_dim"], w_dim, mapping)
    yield "mapping.w_avg", (w_dim,)
    before, resolution = 0, 4
    while resolution <= config["img_resolution"]:
        block = f"synthesis.b{resolution}."
        count = min(synthesis["channel_base"] // resolution, synthesis["channel_max"])
        yield f"{block}resample_filter", (4, 4)
        if before:
            yield from _layer_shapes(f"{block}conv0.", before, count, resolution, config)
        else:
            yield f"{block}const", (count, 4, 4)
        yield from _layer_shapes(f"{block}conv1.", count, count, resolution, config)
        yield f"{block}torgb.weight", (config["img_channels"], count, 1, 1)
        yield f"{block}torgb.bias", (config["img_channels"],)
        yield f"{block}torgb.affine.weight", (count, w_dim)
        yield f"{block}torgb.affine.bias", (count,)
        before, resolution = count, resolution * 2


def _layer_shapes(
    layer: str, before: int, count: int, resolution: int, config: Mapping[str, Any]
) -> Iterator[tuple[str, Shape]]:
    yield f"{layer}weight", (count, before, 3, 3)
    yield f"{layer}bias", (count,)
    yield f"{layer}resample_filter", (4, 4)
    yield f"{layer}affine.weight", (before, config["w_dim"])
    yield f"{layer}affine.bias", (before,)
    if config["synthesis_kwargs"].get("use_noise", True):
        yield f"{layer}noise_const", (resolution, resolution)
        yield f"{layer}noise_strength", ()


def discriminator_shapes(config: Mapping[str, Any]) -> Iterator[tuple[str, Shape]]:
    """Name and shape of every tensor in the state of `Discriminator(**config)`."""

    def channels(resolution: int) -> int:
        return min(config["channel_base"] // resolution, config["channel_max"])

    resolution = config["img_resolution"]
    while resolution > 4:
        block, count, after = f"b{resolution}.", channels(resolution), channels(resolution // 2)
        yield f"{block}resample_filter", (4, 4)
        if resolution == config["img_resolution"]:
            yield from _conv_shapes(f"{block}fromrgb.", config["img_channels"], count, 1)
        yield from _conv_shapes(f"{block}conv0.", count, count, 3)
        yield from _conv_shapes(f"{block}conv1.", count, after, 3)
        yield f"{block}skip.weight", (after, count, 1, 1)
        yield f"{block}skip.resample_filter", (4, 4)
        resolution //= 2
    last, cmap = channels(4), channels(4) if config["c_dim"] else 0
    if cmap:
        yield from _mapping_shapes("mapping.", 0, config["c_dim"], cmap, 8)
    yield from _conv_shapes("b4.conv.", last + 1, last, 3)
    yield "b4.fc.weight", (last, last * 16)
    yield "b4.fc.bias", (last,)
    yield "b4.out.weight", (cmap or 1, last)
    yield "b4.out.bias", (cmap or 1,)


def _conv_shapes(layer: str, before: int, count: int, size: int) -> Iterator[tuple[str, Shape]]:
    yield f"{layer}weight", (count, before, size, size)
    yield f"{layer}bias", (count,)
    yield f"{layer}resample_filter", (4, 4)


def _mapping_shapes(
    prefix: str, z_dim: int, c_dim: int, w_dim: int, layers: int
) -> Iterator[tuple[str, Shape]]:
    if c_dim:
        yield f"{prefix}embed.weight", (w_dim, c_dim)
        yield f"{prefix}embed.bias", (w_dim,)
    features = z_dim + (w_dim if c_dim else 0)
    for index in range(layers):
        yield f"{prefix}fc{index}.weight", (w_dim, features)
        yield f"{prefix}fc{index}.bias", (w_dim,)
        features = w_dim


def compare(what: str, weights: Weights, expected: Mapping[str, Shape]) -> None:
    """Incompatible with the first tensor that does not fit."""
    if missing := sorted(expected.keys() - weights.keys()):
        raise Incompatible(f"its {what} lacks {len(missing)} tensors, such as {missing[0]}")
    if extra := sorted(weights.keys() - expected.keys()):
        raise Incompatible(f"its {what} has {len(extra)} tensors too many, such as {extra[0]}")
    for name, shape in expected.items():
        if tuple(weights[name].shape) != shape:
            found = list(weights[name].shape)
            raise Incompatible(f"{name} of its {what} is {found}, where {list(shape)} is needed")


def _resolutions(weights: Weights, pattern: str, first: int = 4) -> list[int]:
    found, resolution = [], first
    while pattern.format(resolution) in weights and resolution <= MAX_RESOLUTION:
        found.append(resolution)
        resolution *= 2
    if not found:
        raise Incompatible(f"it lacks {pattern.format(first)}")
    return found


def _mapping_layers(weights: Weights) -> int:
    count = 0
    while f"mapping.fc{count}.weight" in weights:
        count += 1
    return count


def _dim(weights: Weights, name: str, axis: int) -> int:
    if name not in weights or len(weights[name].shape) <= axis:
        raise Incompatible(f"it lacks {name}, or it is no matrix")
    return weights[name].shape[axis]
