"""The constant tensors of a TensorFlow Lite file, without its interpreter."""

from __future__ import annotations

import numpy as np
from flatbuffers.number_types import Int8Flags, Int32Flags, Uint8Flags, Uint32Flags
from flatbuffers.table import Table

# Fields by their number in TensorFlow Lite's schema.
MODEL_SUBGRAPHS, MODEL_BUFFERS = 2, 4
SUBGRAPH_TENSORS = 0
TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME = 0, 1, 2, 3
BUFFER_DATA = 0
TYPES = {0: np.float32, 1: np.float16, 2: np.int32}


def read_tensors(content: bytes) -> dict[str, np.ndarray]:
    """Name → values of every tensor that the file holds values of (the first graph's).

    For files whose digest is known: nothing is checked here.
    """
    model = Table(content, Table(content, 0).Get(Uint32Flags, 0))
    graph = _tables(model, MODEL_SUBGRAPHS)[0]
    buffers = _tables(model, MODEL_BUFFERS)
    found = {}
    for tensor in _tables(graph, SUBGRAPH_TENSORS):
        data = _vector(
            buffers[_number(tensor, TENSOR_BUFFER, Uint32Flags)], BUFFER_DATA, Uint8Flags
        )
        dtype = TYPES.get(_number(tensor, TENSOR_TYPE, Int8Flags))
        if len(data) and dtype:
            name = tensor.String(tensor.Pos + _field(tensor, TENSOR_NAME)).decode()
            shape = _vector(tensor, TENSOR_SHAPE, Int32Flags)
            found[name] = data.view(dtype).reshape(shape)
    return found


def _field(table: Table, number: int) -> int:
    """The field's offset in its table, 0 where it is absent."""
    return table.Offset(4 + 2 * number)


def _number(table: Table, number: int, flags: type) -> int:
    offset = _field(table, number)
    return table.Get(flags, table.Pos + offset) if offset else 0


def _vector(table: Table, number: int, flags: type) -> np.ndarray:
    offset = _field(table, number)
    return table.GetVectorAsNumpy(flags, offset) if offset else np.zeros(0, np.uint8)


def _tables(table: Table, number: int) -> list[Table]:
    offset = _field(table, number)
    start, length = table.Vector(offset), table.VectorLen(offset)
    places = range(start, start + 4 * length, 4)
    return [Table(table.Bytes, table.Indirect(place)) for place in places]
