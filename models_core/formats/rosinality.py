"""rosinality's StyleGAN2 checkpoints (`.pt` with g_ema, g, d) by our names.

Its layers compute what ours do: equalized learning rate at run time, the same gains, the same
transposed convolution for upsampling with nothing flipped. What differs is names, singleton axes
(a convolution's weight is [1, O, I, k, k], a bias [1, 3, 1, 1]), FIR kernels that carry the gain
of four, and that the mean w is kept beside the generator (`latent_avg`) or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

from models_core.formats.stylegan2 import (
    Shape,
    Stylegan2,
    discriminator_config,
    discriminator_shapes,
    generator_config,
    generator_shapes,
)
from models_core.formats.tensors import ArrayTensor, Described, StoredTensor, Weights, plain_state
from models_core.formats.verdicts import Incompatible, Unsupported

ORIGIN = "rosinality StyleGAN2 checkpoint"
W_AVG = "mapping.w_avg"
KERNEL = ".kernel"  # FIR filters, all the same in one network


@dataclass(frozen=True)
class Renamed:
    """A tensor of theirs in our shape; `normalised` ones are divided by their sum."""

    source: Described
    shape: Shape
    normalised: bool = False

    @property
    def dtype(self) -> str:
        return self.source.dtype


def is_checkpoint(data: Any) -> bool:
    state = _generator(data)
    return isinstance(state, dict) and any(
        isinstance(name, str) and name.endswith("conv1.conv.modulation.weight") for name in state
    )


def _generator(data: Any) -> Any:
    return data.get("g_ema", data.get("g")) if isinstance(data, dict) else None


def read_checkpoint(data: dict[str, Any]) -> Stylegan2:
    """The averaged generator (g_ema), the mean w where it is kept, and the discriminator."""
    theirs = plain_state(_generator(data) or {})
    if not any(name.startswith("convs.") for name in theirs):
        raise Unsupported("a StyleGAN2 of 4×4 pixels")
    found = _take(theirs, generator_names(theirs), "generator")
    generator = generator_config(found)
    weights = _fit(found, theirs, generator_shapes(generator))
    mean = data.get("latent_avg")
    if isinstance(mean, StoredTensor | ArrayTensor):
        weights[W_AVG] = Renamed(mean, (prod(mean.shape),))
    derived = frozenset() if W_AVG in weights else frozenset({W_AVG})
    if not isinstance(data.get("d"), dict):
        return Stylegan2(ORIGIN, generator, weights, derived=derived)
    critic = plain_state(data["d"])
    found = _take(critic, discriminator_names(critic), "discriminator")
    discriminator = discriminator_config(found)
    critic_weights = _fit(found, critic, discriminator_shapes(discriminator))
    return Stylegan2(ORIGIN, generator, weights, discriminator, critic_weights, derived)


def generator_names(theirs: Weights) -> Iterator[tuple[str, str]]:
    """(our name, their name) of every tensor in their generator."""
    layers = 0
    while f"style.{layers + 1}.weight" in theirs:
        yield f"mapping.fc{layers}.weight", f"style.{layers + 1}.weight"
        yield f"mapping.fc{layers}.bias", f"style.{layers + 1}.bias"
        layers += 1
    yield "synthesis.b4.const", "input.input"
    yield from _synthesis_layer("synthesis.b4.conv1", "conv1", 0)
    yield from _to_rgb("synthesis.b4.torgb", "to_rgb1")
    index = 0
    while f"convs.{2 * index}.conv.weight" in theirs:
        block = f"synthesis.b{8 << index}"
        yield from _synthesis_layer(f"{block}.conv0", f"convs.{2 * index}", 2 * index + 1)
        yield from _synthesis_layer(f"{block}.conv1", f"convs.{2 * index + 1}", 2 * index + 2)
        yield from _to_rgb(f"{block}.torgb", f"to_rgbs.{index}")
        index += 1


def _synthesis_layer(ours: str, theirs: str, noise: int) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}.conv.weight"
    yield f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight"
    yield f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias"
    yield f"{ours}.noise_strength", f"{theirs}.noise.weight"
    yield f"{ours}.noise_const", f"noises.noise_{noise}"
    yield f"{ours}.bias", f"{theirs}.activate.bias"


def _to_rgb(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}.conv.weight"
    yield f"{ours}.affine.weight", f"{theirs}.conv.modulation.weight"
    yield f"{ours}.affine.bias", f"{theirs}.conv.modulation.bias"
    yield f"{ours}.bias", f"{theirs}.bias"


def discriminator_names(theirs: Weights) -> Iterator[tuple[str, str]]:
    """(our name, their name) of every tensor in their discriminator."""
    blocks = 0
    while f"convs.{blocks + 1}.conv1.0.weight" in theirs:
        blocks += 1
    top = f"b{4 << blocks}"
    yield f"{top}.fromrgb.weight", "convs.0.0.weight"
    yield f"{top}.fromrgb.bias", "convs.0.1.bias"
    for index in range(1, blocks + 1):
        ours, block = f"b{4 << (blocks - index + 1)}", f"convs.{index}"
        yield f"{ours}.conv0.weight", f"{block}.conv1.0.weight"
        yield f"{ours}.conv0.bias", f"{block}.conv1.1.bias"
        yield f"{ours}.conv1.weight", f"{block}.conv2.1.weight"
        yield f"{ours}.conv1.bias", f"{block}.conv2.2.bias"
        yield f"{ours}.skip.weight", f"{block}.skip.1.weight"
    yield "b4.conv.weight", "final_conv.0.weight"
    yield "b4.conv.bias", "final_conv.1.bias"
    for ours, index in (("fc", 0), ("out", 1)):
        yield f"b4.{ours}.weight", f"final_linear.{index}.weight"
        yield f"b4.{ours}.bias", f"final_linear.{index}.bias"


def _take(theirs: Weights, names: Iterator[tuple[str, str]], what: str) -> dict[str, Renamed]:
    """Their tensors by our names, still in their shapes; Incompatible where some are missing."""
    pairs = dict(names)
    if missing := [name for name in pairs.values() if name not in theirs]:
        raise Incompatible(f"its {what} lacks {len(missing)} tensors, such as {missing[0]}")
    kernels = {name for name in theirs if name.endswith(KERNEL)}
    if extra := theirs.keys() - set(pairs.values()) - kernels:
        raise Incompatible(f"its {what} has {len(extra)} tensors too many, such as {min(extra)}")
    return {
        ours: Renamed(theirs[name], _without_batch(theirs[name].shape))
        for ours, name in pairs.items()
    }


def _without_batch(shape: Shape) -> Shape:
    """A modulated convolution's weight has an axis of length 1 in front."""
    return shape[1:] if len(shape) == 5 and shape[0] == 1 else shape


def _fit(
    found: dict[str, Renamed], theirs: Weights, expected: Iterator[tuple[str, Shape]]
) -> dict[str, Described]:
    """Give every tensor our shape where only axes of length 1 differ, and every layer its FIR."""
    kernels = [value for name, value in theirs.items() if name.endswith(KERNEL)]
    if not kernels or any(kernel.shape != (4, 4) for kernel in kernels):
        raise Incompatible("its FIR filters are not the 4×4 ones of StyleGAN2")
    weights: dict[str, Described] = dict(found)
    for name, shape in expected:
        if name.endswith(".resample_filter"):
            weights[name] = Renamed(kernels[0], shape, normalised=True)
        elif name in found and _lengths(found[name].shape) == _lengths(shape):
            weights[name] = Renamed(found[name].source, shape)
    return weights


def _lengths(shape: Shape) -> list[int]:
    return [length for length in shape if length != 1]
