"""Files of `torch.save`, both its formats, as plain data with tensors that are still on disk."""

from __future__ import annotations

import struct
from typing import Any

from models_core.formats.allowed import Name, storage_dtype
from models_core.formats.archive import Archive
from models_core.formats.spans import Reader, Span
from models_core.formats.tensors import SIZES, Storage
from models_core.formats.unpickle import Budget, unpickle
from models_core.formats.verdicts import Corrupt, Unsupported, shown

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_PICKLE = 64 << 20  # bytes; an SDXL checkpoint's has 0.5 MB
# As the older format begins: the magic number as a pickle of protocol 2.
LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def load_zip(span: Span, archive: Archive) -> Any:
    """What a file of torch ≥ 1.6 holds: `NAME/data.pkl` and `NAME/data/0` … in a zip."""
    archive.check_stored()
    pickles = [name for name in archive.names if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise Corrupt(f"a torch file has one data.pkl, not {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    if any(name.startswith((f"{root}code/", f"{root}constants.pkl")) for name in archive.names):
        raise Unsupported("a TorchScript program", "save its state_dict() instead")
    if f"{root}byteorder" in archive.names and archive.read(f"{root}byteorder", 64) != b"little":
        raise Unsupported("a torch file from a big-endian machine")
    storages: dict[str, Storage] = {}

    def load(key: Any) -> Storage:
        storage, name = _named_storage(key)
        if name not in storages:
            storage.span = archive.stored(f"{root}data/{name}")
            storages[name] = storage
        return _fitting(storages[name], storage)

    pickle = archive.stored(pickles[0])
    if len(pickle) > MAX_PICKLE:
        raise Corrupt(f"its data.pkl has {len(pickle):,} bytes; at most {MAX_PICKLE:,} are read")
    return unpickle(Reader(pickle), Budget(), persistent_load=load)


def load_legacy(span: Span, budget: Budget | None = None) -> Any:
    """What a file of torch < 1.6 holds, or a storage in a plain pickle.

    Five pickles (magic number, protocol, machine, object, storage keys), then every storage:
    its length in 8 bytes, and its numbers.
    """
    budget = budget or Budget()
    reader = Reader(span)
    if unpickle(reader, budget) != LEGACY_MAGIC or unpickle(reader, budget) != PROTOCOL:
        raise Corrupt("it does not begin as torch.save begins a file")
    machine = unpickle(reader, budget)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise Unsupported("a torch file from a big-endian machine")
    storages: dict[str, Storage] = {}

    def load(key: Any) -> Storage | Name:
        if isinstance(key, tuple) and len(key) == 4 and isinstance(key[1], Name):
            return key[1]  # ("module", class, file, source): the source stays unread
        storage, name = _named_storage(key)
        return _fitting(storages.setdefault(name, storage), storage)

    data = unpickle(reader, budget, persistent_load=load)
    order = unpickle(reader, budget)
    if not isinstance(order, list) or not all(isinstance(key, str) for key in order):
        raise Corrupt("its list of storages is none")
    at = reader.at
    for key in order:
        if key not in storages:
            raise Corrupt(f"storage {shown(key)} belongs to no tensor")
        storage = storages[key]
        (count,) = struct.unpack("<q", span.read(at, 8))
        if count != storage.count:
            raise Corrupt(f"storage {shown(key)} has {count} numbers, not {storage.count}")
        size = count * SIZES[storage.dtype]
        storage.span = span.part(at + 8, size)
        at += 8 + size
    return data


def load_pickle(span: Span) -> Any:
    """A plain pickle, as NVIDIA's trainer writes it: every storage is a torch file in itself."""
    budget = Budget()
    return unpickle(Reader(span), budget, load_bytes=lambda inner: load_legacy(inner, budget))


def _named_storage(key: Any) -> tuple[Storage, str]:
    """("storage", class, key, device, count[, view]) as torch's persistent id."""
    if not isinstance(key, tuple) or len(key) not in (5, 6) or key[0] != "storage":
        raise Corrupt(f"{shown(key)} is no storage of torch's")
    if len(key) == 6 and key[5] is not None:
        raise Unsupported("a torch file older than 1.0 with views of storages")
    _, kind, name, _, count = key[:5]
    if not isinstance(name, str) or type(count) is not int or count < 0:
        raise Corrupt(f"{shown(key)} is no storage of torch's")
    return Storage(storage_dtype(kind), count), name


def _fitting(known: Storage, asked: Storage) -> Storage:
    if (known.dtype, known.count) != (asked.dtype, asked.count):
        raise Corrupt("one storage is described in two ways")
    if known.span is not None and len(known.span) < known.count * SIZES[known.dtype]:
        raise Corrupt(f"a storage of {known.count:,} numbers has only {len(known.span):,} bytes")
    return known
