"""A safetensors file's header, checked more strictly than the library does.

The library takes duplicate keys and headers of any size: 900,000 tensors cost it 854 MB and 4 s.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

from models_core.formats.spans import Span
from models_core.formats.tensors import MAX_DIMENSIONS, MAX_TENSORS, SIZES, Storage, StoredTensor
from models_core.formats.verdicts import Corrupt, Unsupported, shown

MAX_HEADER = 16 << 20
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


@dataclass(frozen=True)
class Header:
    """The tensors of a file, still on disk where the file is at hand, and its metadata."""

    tensors: dict[str, StoredTensor]
    metadata: dict[str, str]


def looks_like_safetensors(head: bytes) -> bool:
    """8 bytes of length, then JSON. A length that cannot be makes it a broken one, not another."""
    return len(head) > 8 and head[8:9] == b"{" and head[9:10] in (b'"', b"}", b" ", b"\n", b"\t")


def read_header(span: Span) -> Header:
    """The header of a whole file."""
    return parse_header(span.read, span.size, span)


def parse_header(read: Callable[[int, int], bytes], size: int, span: Span | None = None) -> Header:
    """The header of a file of `size` bytes, of which `read(at, count)` gives a part.

    `span` is the file itself, where its weights can be read without unpacking.
    """
    if size < 8:
        raise Corrupt(f"a safetensors file has at least 8 bytes, not {size}")
    (length,) = struct.unpack("<Q", read(0, 8))
    if length > MAX_HEADER:
        raise Corrupt(f"its header claims {length:,} bytes; at most {MAX_HEADER:,} are read")
    if 8 + length > size:
        raise Corrupt(f"it was cut inside its header: {size:,} of {8 + length:,} bytes are left")
    raw = _parse_json(read(8, length))
    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise Corrupt("its header's metadata are no texts")
    if len(raw) > MAX_TENSORS:
        raise Corrupt(f"its header lists {len(raw):,} tensors; at most {MAX_TENSORS:,} are read")
    data = size - 8 - length
    tensors, ends = {}, []
    for name, entry in raw.items():
        dtype, shape, begin, end = _entry(name, entry, data)
        ends.append((begin, end, name))
        part = span.part(8 + length + begin, end - begin) if span else None
        storage = Storage(dtype, prod(shape), part)
        tensors[name] = StoredTensor(storage, 0, shape, contiguous(shape), dtype)
    _check_places(ends, data)
    return Header(tensors, metadata)


def _parse_json(text: bytes) -> dict[str, Any]:
    if text.count(b'"dtype"') > MAX_TENSORS:  # before it takes memory
        raise Corrupt(f"its header lists more than {MAX_TENSORS:,} tensors")
    try:
        raw = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"its header is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise Corrupt("its header is no table")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Corrupt(f"its header names {shown(twice)} twice")
    return found


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _entry(name: str, entry: Any, data: int) -> tuple[str, tuple[int, ...], int, int]:
    where = f"its header's entry {shown(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise Corrupt(f"{where} needs dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str):
        raise Corrupt(f"{where} has no dtype")
    if entry["dtype"] not in DTYPES:
        raise Unsupported(f"a safetensors file with tensors of type {shown(entry['dtype'])}")
    dtype = DTYPES[entry["dtype"]]
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_naturals(shape) or len(shape) > MAX_DIMENSIONS:
        raise Corrupt(f"{where} has the shape {shown(shape)}")
    if not _are_naturals(offsets) or len(offsets) != 2:
        raise Corrupt(f"{where} has the offsets {shown(offsets)}")
    begin, end = offsets
    if end > data:
        raise Corrupt(f"{where} ends at byte {end:,} of {data:,}: the file was cut")
    if end - begin != prod(shape) * SIZES[dtype]:
        raise Corrupt(f"{where} of shape {shape} has {end - begin:,} bytes")
    return dtype, tuple(shape), begin, end


def _are_naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and 0 <= n < 2**48 for n in values)


def _check_places(places: list[tuple[int, int, str]], data: int) -> None:
    """Tensors lie one behind the other and fill the file: no gaps to hide in, no overlap."""
    at = 0
    for begin, end, name in sorted(places):
        if begin != at:
            raise Corrupt(f"{shown(name)} begins at byte {begin:,}, not at {at:,}")
        at = end
    if at != data:
        raise Corrupt(f"its tensors end at byte {at:,}, but the file goes on to {data:,}")


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of a tensor whose last axis varies fastest."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))
