"""From tensors on disk to torch's. The only module here, with `convert`, that needs torch."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models_core.formats.rosinality import Renamed
from models_core.formats.spans import Span
from models_core.formats.tensors import ArrayTensor, Described, StoredTensor, Weights


def to_torch(value: Described) -> Tensor:
    """A tensor of its own memory, contiguous, with the numbers as they are stored."""
    if isinstance(value, Renamed):
        tensor = to_torch(value.source).reshape(value.shape)
        return tensor / tensor.sum() if value.normalised else tensor
    if isinstance(value, StoredTensor):
        raw, count = value.raw()
        flat = _flat(raw, count, value.dtype)
        return flat.as_strided(value.shape, value.stride).contiguous()
    if isinstance(value, ArrayTensor):
        data = value.data.read() if isinstance(value.data, Span) else value.data
        flat = _flat(data, prod(value.shape), value.dtype)
        if value.fortran:
            return torch.from_numpy(flat.numpy().reshape(value.shape, order="F").copy(order="C"))
        return flat.reshape(value.shape)
    raise TypeError(f"{type(value).__name__} is no tensor on disk")


def state_dict(weights: Weights) -> dict[str, Tensor]:
    return {name: to_torch(value) for name, value in weights.items()}


def _flat(raw: bytes, count: int, dtype: str) -> Tensor:
    kind: Any = getattr(torch, dtype)
    if not count:
        return torch.empty(0, dtype=kind)
    return torch.from_numpy(np.frombuffer(bytearray(raw), np.uint8)).view(kind)[:count]
