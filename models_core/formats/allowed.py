"""The names a pickle may use, each with what we make of its arguments. No name here is imported.

A name outside this table is either somebody's class, of which only the state is kept, or it is
refused: when the pickle calls it, or when it belongs to Python itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models_core.formats.spans import Span
from models_core.formats.tensors import (
    SIZES,
    ArrayTensor,
    Storage,
    StoredTensor,
    check_view,
    number,
)
from models_core.formats.verdicts import Corrupt, Unsupported, shown


class Name:
    """A class or function that the pickle names; never looked up."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"<{self.path}>"


class Record:
    """An object of a class that was not run: its name, arguments and state as plain data."""

    __slots__ = ("args", "entries", "items", "name", "state")

    def __init__(self, name: str, args: tuple[Any, ...] = (), state: Any = None) -> None:
        self.name, self.args, self.state = name, args, state
        self.items: dict[Any, Any] = {}  # where the class is a kind of dict
        self.entries: list[Any] = []  # where it is a kind of list

    @property
    def attributes(self) -> dict[str, Any]:
        return self.state if isinstance(self.state, dict) else {}

    def __repr__(self) -> str:
        return f"<a {self.name}>"


STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}
NUMPY_TYPES = {
    "f8": "float64",
    "f4": "float32",
    "f2": "float16",
    "i8": "int64",
    "i4": "int32",
    "i2": "int16",
    "i1": "int8",
    "u8": "uint64",
    "u4": "uint32",
    "u2": "uint16",
    "u1": "uint8",
    "b1": "bool",
}
PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


def storage_dtype(kind: Any) -> str:
    """The element type of a storage class such as `torch.FloatStorage`."""
    path = kind.path if isinstance(kind, Name) else ""
    module, _, name = path.rpartition(".")
    if module not in ("torch", "torch.cuda", "torch.storage") or name not in STORAGES:
        raise Corrupt(f"{shown(kind)} is no kind of tensor storage")
    return STORAGES[name]


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise Corrupt(f"a tensor is made of {shown(storage)} instead of numbers")
    check_view(storage, offset, shape, stride)
    return StoredTensor(storage, offset, shape, stride, storage.dtype)


def _typed_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *_: Any
) -> StoredTensor:
    """As newer torch writes types that have no storage class of their own."""
    name = dtype.path.removeprefix("torch.") if isinstance(dtype, Name) else ""
    if name not in SIZES or not isinstance(storage, Storage):
        raise Unsupported(f"a checkpoint with tensors of type {shown(dtype)}")
    count = storage.count * SIZES[storage.dtype] // SIZES[name]
    check_view(Storage(name, count), offset, shape, stride)
    return StoredTensor(storage, offset, shape, stride, name)


def _first(data: Any, *_: Any) -> Any:
    return data


def _dictionary(*args: Any) -> dict[Any, Any]:
    if args and isinstance(args[0], list):  # pairs, as Python 2 wrote it
        return {key: value for key, value in args[0] if isinstance(key, str | int | bytes)}
    return {}


def _members(*args: Any) -> list[Any]:
    """Sets become lists: nothing here needs them, and hashing what a stranger sent is a risk."""
    return args[0] if args and isinstance(args[0], list) else []


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes in pickles that Python 2 could read."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise Corrupt(f"bytes are made of {shown(text)}, encoded as {shown(encoding)}")
    return text.encode("latin1")


def _bytes(data: Any = b"", encoding: Any = "latin1", *_: Any) -> bytes | Span:
    if isinstance(data, bytes | Span):
        return data
    return _encode(data, encoding)


def _complex(real: Any = 0, imaginary: Any = 0) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise Corrupt("a complex number is made of something else than numbers")
    return complex(real, imaginary)


def _text(*args: Any) -> str:
    return ":".join(str(part) for part in args if isinstance(part, str | int))


def _shape(values: Any = (), *_: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, tuple | list) else ()


def _numpy_dtype(code: Any, *_: Any) -> Record:
    return Record("numpy.dtype", (code,))


def numpy_type(dtype: Any) -> str:
    """Our name of a `numpy.dtype` record; big-endian and structured types are refused."""
    code = dtype.args[0] if isinstance(dtype, Record) and dtype.args else None
    order = dtype.state[1] if isinstance(dtype, Record) and isinstance(dtype.state, tuple) else "|"
    if code not in NUMPY_TYPES or order == ">":
        raise Unsupported(f"a checkpoint with NumPy data of type {shown(code)}")
    return NUMPY_TYPES[code]


def _numpy_array(*_: Any) -> Record:
    return Record("numpy.ndarray")


def _numpy_from_buffer(data: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> Record:
    """As pickle protocol 5 writes arrays."""
    return Record("numpy.ndarray", state=(1, shape, dtype, order == "F", data))


def numpy_array(record: Record) -> ArrayTensor:
    """From what `numpy.ndarray` gives as its state: (version, shape, dtype, order, data)."""
    state = record.state
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[4], bytes | Span):
        raise Corrupt("a NumPy array's state is not as NumPy writes it")
    dtype, shape = numpy_type(state[2]), state[1]
    count = len(state[4]) // SIZES[dtype]
    check_view(Storage(dtype, count), 0, shape, (1,) * len(shape) if shape else ())
    return ArrayTensor(state[4], dtype, shape, bool(state[3]))


def _numpy_scalar(dtype: Any, data: Any = b"", *_: Any) -> Any:
    kind = numpy_type(dtype)
    if not isinstance(data, bytes) or len(data) != SIZES[kind]:
        raise Corrupt("a NumPy number has the wrong length")
    return number(data, kind)


def persistent(meta: Any = None, *_: Any) -> Record:
    """NVIDIA's objects bring their class's source along; it is left unread.

    Args:
        meta: {"type": "class", "version": 6, "module_src": …, "class_name": …, "state": …}
    """
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Corrupt("a persistent object lacks its class name")
    return Record(meta["class_name"], state=meta.get("state"))


CALLS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.Size": _shape,
    "torch.device": _text,
    "collections.OrderedDict": _dictionary,
    "collections.defaultdict": lambda *_: {},
    "collections.deque": _members,
    "collections.Counter": lambda *_: {},
    "builtins.set": _members,
    "builtins.frozenset": _members,
    "builtins.list": _members,
    "builtins.dict": _dictionary,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.complex": _complex,
    "_codecs.encode": _encode,
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray._reconstruct": _numpy_array,
    "numpy._core.multiarray._reconstruct": _numpy_array,
    "numpy.core.numeric._frombuffer": _numpy_from_buffer,
    "numpy._core.numeric._frombuffer": _numpy_from_buffer,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "pathlib.PosixPath": _text,
    "pathlib.WindowsPath": _text,
    "pathlib.PurePosixPath": _text,
    PERSISTENT: persistent,
}
# Written in place of a call's result, where only the name is meant: a factory, a base class.
PLAIN = {
    *("argparse.Namespace", "typing.Any"),
    *(f"builtins.{name}" for name in ("object", "int", "float", "str", "bool", "tuple")),
}
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg", "_collections": "collections"}
