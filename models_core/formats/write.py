"""A safetensors file written one tensor at a time: a checkpoint of 8 GB needs no 8 GB of memory."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from models_core.formats.header import DTYPES
from models_core.formats.loading import cast, check_finite, is_float, to_numpy
from models_core.formats.tensors import SIZES, Described, Weights

CODES = {name: code for code, name in DTYPES.items()}


@dataclass(frozen=True)
class Piece:
    """One tensor to write; `make` gives its numbers when it is its turn."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        return prod(self.shape) * SIZES[self.dtype]


def pieces_of(weights: Weights, *, half: bool = False) -> list[Piece]:
    """Tensors on disk as they are, or with their floats in half precision."""
    return [piece(name, value, half=half) for name, value in weights.items()]


def piece(name: str, value: Described, *, half: bool = False) -> Piece:
    dtype = "float16" if half and is_float(value.dtype) else value.dtype
    return Piece(name, dtype, tuple(value.shape), lambda: cast(to_numpy(value), value.dtype, dtype))


def write_safetensors(
    file: Path, pieces: Iterable[Piece], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors, the widest numbers first so that all of them lie aligned."""
    order = sorted(pieces, key=lambda p: (-SIZES[p.dtype], p.name))
    header: dict[str, object] = {"__metadata__": {**(metadata or {}), "format": "pt"}}
    at = 0
    for p in order:
        offsets = [at, at + p.size]
        header[p.name] = {"dtype": CODES[p.dtype], "shape": p.shape, "data_offsets": offsets}
        at += p.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for p in order:
            array = p.make()
            check_finite(p.name, array, p.dtype)
            out.write(np.ascontiguousarray(array).data)
