"""Tensors as checkpoints describe them: where the numbers lie and in which shape."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

from models_core.formats.spans import Span
from models_core.formats.verdicts import Corrupt, shown

SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
}
MAX_TENSORS = 20_000
MAX_DIMENSIONS = 8


class Described(Protocol):
    """What every format tells of a tensor without reading it."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...


Weights = Mapping[Any, Described]


@dataclass(eq=False)
class Storage:
    """`count` numbers in a row. torch's older format tells only later where they lie."""

    dtype: str
    count: int
    span: Span | None = None


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A view of a storage, in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: str

    def raw(self) -> tuple[bytes, int]:
        """The bytes from the first element to the last, and the number of elements in them."""
        if self.storage.span is None:
            raise Corrupt("a tensor's numbers are missing from the file")
        size = SIZES[self.dtype]
        reach = extent(self.shape, self.stride)
        return self.storage.span.read(self.offset * size, reach * size), reach


@dataclass(frozen=True, eq=False)
class ArrayTensor:
    """A NumPy array that a pickle carries."""

    data: bytes | Span = field(repr=False)
    dtype: str
    shape: tuple[int, ...]
    fortran: bool = False


def extent(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """How many elements lie between the first and the last of a view, both included."""
    if 0 in shape:
        return 0
    return 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))


def check_view(storage: Storage, offset: Any, shape: Any, stride: Any) -> None:
    """Refuse a view that leaves its storage, or that makes much of little by overlapping."""
    if not _naturals(shape) or not _naturals(stride) or len(shape) != len(stride):
        raise Corrupt(f"a tensor's shape is {shown(shape)} with strides {shown(stride)}")
    if type(offset) is not int or offset < 0:
        raise Corrupt(f"a tensor begins at {shown(offset)}")
    if offset + extent(shape, stride) > storage.count or prod(shape) > storage.count:
        raise Corrupt(
            f"a tensor of shape {list(shape)} does not fit into its {storage.count:,} numbers"
        )


def _naturals(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) <= MAX_DIMENSIONS
        and all(type(n) is int and 0 <= n < 2**48 for n in values)
    )


def plain_state(state: Mapping[Any, Any]) -> dict[str, Described]:
    """The tensors of a state dictionary, without the prefix that parallel training adds."""
    return {
        name.removeprefix("module."): value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, StoredTensor | ArrayTensor)
    }


SCALARS = {
    "float64": "d",
    "float32": "f",
    "float16": "e",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint64": "Q",
    "uint32": "I",
    "uint16": "H",
    "uint8": "B",
    "bool": "?",
}


def number(data: bytes, dtype: str) -> float:
    """One number from its bytes."""
    if dtype == "bfloat16":  # the upper half of a float32
        return struct.unpack("<f", b"\0\0" + data)[0]
    if dtype not in SCALARS:
        raise Corrupt(f"a single number of type {dtype}")
    return struct.unpack("<" + SCALARS[dtype], data)[0]


def scalar(value: Described) -> float:
    """A stored tensor of one element, such as a LoRA's alpha."""
    if not isinstance(value, StoredTensor) or prod(value.shape) != 1:
        raise Corrupt(f"one number is a tensor of shape {list(value.shape)}")
    return number(value.raw()[0], value.dtype)


def parameter_count(weights: Weights) -> int:
    return sum(prod(value.shape) for value in weights.values())


def common_dtype(weights: Weights) -> str:
    """The type of most numbers, with the others after a plus sign: "float16+float32"."""
    totals: dict[str, int] = {}
    for value in weights.values():
        totals[value.dtype] = totals.get(value.dtype, 0) + prod(value.shape)
    return "+".join(sorted(totals, key=lambda name: (-totals[name], name)))
