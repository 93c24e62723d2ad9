"""From tensors on disk to NumPy arrays, so that converting needs no torch.

NumPy has no bfloat16 and no float8: those are arrays of unsigned integers of the same width, and
the name of the type is kept beside them.
"""

from __future__ import annotations

from math import prod

import numpy as np

from models_core.formats.rosinality import Renamed
from models_core.formats.spans import Span
from models_core.formats.tensors import SIZES, ArrayTensor, Described, StoredTensor
from models_core.formats.verdicts import Incompatible

BIT_TYPES = {"bfloat16": "uint16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


def to_numpy(value: Described) -> np.ndarray:
    """A tensor's numbers as they are stored, contiguous."""
    if isinstance(value, Renamed):
        array = to_numpy(value.source).reshape(value.shape)
        return (array / array.sum()).astype(array.dtype) if value.normalised else array
    kind = np.dtype(BIT_TYPES.get(value.dtype, value.dtype))
    if isinstance(value, StoredTensor):
        raw, count = value.raw()
        flat = np.frombuffer(raw, kind, count)
        strides = [step * kind.itemsize for step in value.stride]
        view = np.lib.stride_tricks.as_strided(flat, value.shape, strides, writeable=False)
        return np.ascontiguousarray(view).reshape(value.shape)
    if isinstance(value, ArrayTensor):
        data = value.data.read() if isinstance(value.data, Span) else value.data
        flat = np.frombuffer(data, kind, prod(value.shape))
        if value.fortran:
            flat = flat.reshape(value.shape[::-1]).transpose()
        return np.ascontiguousarray(flat).reshape(value.shape)
    raise TypeError(f"{type(value).__name__} is no tensor on disk")


def cast(array: np.ndarray, dtype: str, wanted: str) -> np.ndarray:
    """From one float type to float16 or float32, rounding to nearest."""
    if dtype == wanted:
        return array
    if dtype == "bfloat16":  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def check_finite(name: str, array: np.ndarray, dtype: str) -> None:
    """Incompatible where a weight is infinite or no number."""
    if dtype == "bfloat16":
        finite = (array & 0x7F80) != 0x7F80
    elif dtype.startswith("float8") or array.dtype.kind != "f":
        return
    else:
        finite = np.isfinite(array)
    if not finite.all():
        raise Incompatible(f"{name} holds values that are no numbers, or too large for its type")


def is_float(dtype: str) -> bool:
    return dtype in ("bfloat16", "float16", "float32", "float64") and dtype in SIZES
