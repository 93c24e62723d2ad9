"""Reading weights that others wrote, and saying in words where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

SHOWN = 5
ALIGNMENT = 64  # bytes; what torch's own memory on a CPU begins at


class WeightsError(ValueError):
    """A file of weights is unreadable, or holds something else than was asked for."""


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, and its metadata."""
    if not file.is_file():
        raise WeightsError(f"{file} does not exist")
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            return tensors, opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {error}") from error


def misfits(model: nn.Module, weights: Mapping[str, Tensor]) -> list[str]:
    """What keeps `weights` from being the model's whole state; empty where they are."""
    own = model.state_dict()
    found = [
        f"{key} has shape {list(weights[key].shape)}, not {list(own[key].shape)}"
        for key in own
        if key in weights and weights[key].shape != own[key].shape
    ]
    found += [f"{key} is missing" for key in own if key not in weights]
    return found + [f"{key} is not part of the model" for key in weights if key not in own]


def shorten(items: list[str]) -> str:
    """The first few, and how many more there are."""
    rest = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + rest


@torch.no_grad()
def lay_out(module: nn.Module, *, channels_last: bool = False) -> None:
    """Give weights one layout in memory, whichever way they were loaded.

    Sums over other layouts and alignments have other orders, and so other last bits. Tensors read
    from a file lie where the file has them.
    """
    if channels_last:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()
