"""NVIDIA's `network-snapshot-*.pkl` (StyleGAN2-ADA for PyTorch), from the inert records of it.

The pickle holds {"G", "D", "G_ema", "training_set_kwargs", "augment_pipe"}; every network is an
object that brings its class's source code along and would run it. Only its state is read: the
`_parameters`, `_buffers` and `_modules` of each torch module, and a few plain attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models_core.formats.allowed import Record, numpy_array
from models_core.formats.stylegan2 import Stylegan2, discriminator_config, generator_config
from models_core.formats.tensors import MAX_TENSORS, ArrayTensor, Described, StoredTensor
from models_core.formats.verdicts import Corrupt, Incompatible, Unsupported, shown

ORIGIN = "NVIDIA StyleGAN2-ADA (PyTorch) snapshot"
MAX_DEPTH = 16  # of modules in modules


def is_snapshot(data: Any) -> bool:
    return isinstance(data, dict) and any(
        isinstance(data.get(key), Record) for key in ("G_ema", "G", "D")
    )


def read_snapshot(data: dict[str, Any]) -> Stylegan2:
    """The averaged generator, and the discriminator where there is one."""
    network = data.get("G_ema", data.get("G"))
    if not isinstance(network, Record):
        raise Unsupported("a pickle without a generator G_ema")
    weights = dict(tensors_of(network))
    _check_kind(network, weights)
    _check_settings(network, "synthesis.b4", "skip")
    generator = generator_config(
        weights,
        lr_multiplier=number(network, "mapping.fc0", "bias_gain", 0.01),
        conv_clamp=clamp(network, "synthesis.b4.conv1"),
    )
    trained_on = training_set(data)
    critic = data.get("D")
    if not isinstance(critic, Record):
        return Stylegan2(ORIGIN, generator, weights, trained_on=trained_on)
    found = dict(tensors_of(critic))
    _check_settings(critic, f"b{generator['img_resolution']}", "resnet")
    if number(critic, "mapping.fc0", "bias_gain", 0.01) != 0.01:
        raise Incompatible("its discriminator's label mapping has another learning rate than 0.01")
    group = number(critic, "b4.mbstd", "group_size", 4)
    discriminator = discriminator_config(
        found, conv_clamp=clamp(critic, "b4.conv"), mbstd_group_size=int(group)
    )
    return Stylegan2(ORIGIN, generator, weights, discriminator, found, trained_on=trained_on)


def training_set(data: dict[str, Any]) -> dict[str, Any]:
    """The plain values of `training_set_kwargs`: what the network was trained on."""
    found = data.get("training_set_kwargs")
    items = found.items if isinstance(found, Record) else found
    if not isinstance(items, dict):
        return {}
    plain = {k: v for k, v in items.items() if isinstance(k, str) and _is_plain(v)}
    return dict(list(plain.items())[:32])


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | bool | None) or (
        isinstance(value, str) and len(value) < 256
    )


def tensors_of(record: Record, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Described]]:
    """Name and tensor of everything in a torch module's state dictionary."""
    if depth > MAX_DEPTH:
        raise Corrupt(f"its modules lie more than {MAX_DEPTH} deep in each other")
    state = record.attributes
    skipped = state.get("_non_persistent_buffers_set") or ()
    for table in ("_parameters", "_buffers"):
        for name, value in _table(state, table).items():
            if value is not None and name not in skipped:
                yield prefix + name, _tensor(prefix + name, value)
    modules = _table(state, "_modules")
    if len(modules) > MAX_TENSORS:
        raise Corrupt(f"it has {len(modules):,} modules")
    for name, child in modules.items():
        if isinstance(child, Record):
            yield from tensors_of(child, f"{prefix}{name}.", depth + 1)


def _table(state: dict[str, Any], name: str) -> dict[str, Any]:
    table = state.get(name)
    if table is None:
        return {}
    if isinstance(table, Record):
        table = table.items
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in table):
        raise Corrupt(f"a module's {name} is {shown(table)}")
    return table


def _tensor(name: str, value: Any) -> Described:
    if isinstance(value, Record) and value.name == "numpy.ndarray":
        value = numpy_array(value)
    if not isinstance(value, StoredTensor | ArrayTensor):
        raise Corrupt(f"{name} is {shown(value)} instead of a tensor")
    return value


def attribute(record: Record, path: str, name: str) -> Any:
    """A plain attribute of the submodule at `path`, None where there is none."""
    found: Any = record
    for part in path.split("."):
        found = _table(found.attributes, "_modules").get(part) if isinstance(found, Record) else 0
    return found.attributes.get(name) if isinstance(found, Record) else None


def number(record: Record, path: str, name: str, default: float) -> float:
    value = attribute(record, path, name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    if not 0 < value < 1e6:
        raise Incompatible(f"its {path} has a {name} of {shown(value)}")
    return value


def clamp(record: Record, path: str) -> float | None:
    """What convolutions' outputs are cut to; 0 stands for nothing."""
    return number(record, path, "conv_clamp", 0) or None


def _check_kind(network: Record, weights: dict[str, Described]) -> None:
    if "synthesis.b4.const" in weights:
        return
    if any(name.startswith("synthesis.L0_") for name in weights):
        raise Unsupported("a StyleGAN3 network")
    raise Unsupported(f"a pickled {network.name[:80]} network that is no StyleGAN2")


def _check_settings(network: Record, block: str, architecture: str) -> None:
    found = attribute(network, block, "architecture")
    if found not in (None, architecture):
        raise Unsupported(f"a StyleGAN2 of the {shown(found)} architecture, not {architecture!r}")
    for layer in ("conv0", "conv1", "conv"):
        activation = attribute(network, f"{block}.{layer}", "activation")
        if activation not in (None, "lrelu"):
            raise Unsupported(f"a StyleGAN2 with {shown(activation)} activations, not 'lrelu'")
