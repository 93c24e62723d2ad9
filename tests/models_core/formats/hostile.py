"""Files made to do harm or to break a reader, each with the verdict it deserves."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


@dataclass(frozen=True)
class Case:
    """`says` is a part of the reason that is given."""

    name: str
    content: bytes
    state: str
    says: str = ""


class Calls:
    """An object whose unpickling calls a function."""

    def __init__(self, function: Callable, *args: object) -> None:
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class CallsEx(Calls):
    def __reduce_ex__(self, protocol):
        return self.function, self.args


def pickles(canary: str) -> Iterator[Case]:
    command = f"touch {canary}"
    text = command.encode()
    code = f"open({canary!r}, 'w')"
    for protocol in range(6):
        data = pickle.dumps({"G_ema": Calls(os.system, command)}, protocol)
        yield Case(f"os.system protocol {protocol}", padded(data), "unsafe", "posix.system")
    yield Case("reduce_ex", pickle.dumps([CallsEx(os.system, command)] * 9), "unsafe", "system")
    yield Case("eval", pickle.dumps(Calls(eval, code)), "unsafe", "builtins.eval")
    yield Case("exec", pickle.dumps(Calls(exec, code)), "unsafe", "builtins.exec")
    yield Case(
        "eval as Python 2 spells it",
        b"\x80\x02c__builtin__\neval\nX" + sized(code.encode()) + b"\x85R.",
        "unsafe",
        "builtins.eval",
    )
    names = {
        "nested name": ("os.path", "os.system"),
        "dotted name": ("torch", "serialization.os.system"),
        "dotted module": ("", "os.system"),
        "getattr": ("builtins", "getattr"),
        "__import__": ("builtins", "__import__"),
        "import_module": ("importlib", "import_module"),
        "runpy": ("runpy", "_run_code"),
        "partial": ("functools", "partial"),
        "attrgetter": ("operator", "attrgetter"),
        "pty": ("pty", "spawn"),
        "socket": ("socket", "create_connection"),
        "nt": ("nt", "system"),
        "a pickle in a pickle": ("pickle", "loads"),
        "torch.load": ("torch", "load"),
        "torch.hub": ("torch.hub", "load"),
        "numpy.load": ("numpy", "load"),
        "numpy's exec": ("numpy.testing._private.utils", "runstring"),
        "a stranger's function": ("somebodys.module", "run"),
        "almost an allowed name": ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        "an allowed prefix": ("torch._utils_evil", "_rebuild_tensor_v2"),
    }
    for name, (module, attribute) in names.items():
        called = (
            b"\x80\x04" + short(module) + short(attribute) + b"\x93" + short(command) + b"\x85R."
        )
        yield Case(name, padded(called), "unsafe", attribute)
    escapes = b"\x80\x04" + short("some\x1b[2J\0body") + short("x" * 250) + b"\x93)R."
    yield Case("a name that clears the screen", escapes, "unsafe", "some\ufffd[2J\ufffdbody.xxx")
    yield Case("INST", b"(S'" + text + b"'\nios\nsystem\n.", "unsafe", "os.system")
    yield Case("OBJ", b"(cos\nsystem\nS'" + text + b"'\no.", "unsafe", "os.system")
    yield Case(
        "NEWOBJ and BUILD", padded(b"csubprocess\nPopen\n)\x81}b."), "unsafe", "subprocess.Popen"
    )
    yield Case(
        "BUILD of a class",
        b"\x80\x02csomebodys\nClass\n}X" + sized(b"__setstate__") + b"cos\nsystem\nsb.",
        "unsafe",
        "os.system",
    )
    yield Case(
        "BUILD of a function", b"\x80\x02csomebody\nf\n}X\x01\0\0\0aNsb.", "unsafe", "somebody.f"
    )
    yield Case(
        "persistent id", b"\x80\x02X" + sized(b"storage" * 3) + b"Q.", "unsafe", "persistent"
    )
    yield Case("persistent id as text", padded(b"(Pstorage\n."), "unsafe", "persistent")
    yield Case("extension registry", padded(b"\x80\x02\x82\x05."), "unsafe", "extension 5")
    yield Case("a pickle in a storage", in_storage(command), "unsafe", "posix.system")
    yield Case("beside honest weights", beside_weights(command), "unsafe", "posix.system")


def torch_files(canary: str) -> Iterator[Case]:
    evil = {"state_dict": {"w": torch.zeros(4)}, "x": Calls(os.system, f"touch {canary}")}
    for legacy in (False, True):
        file = io.BytesIO()
        torch.save(evil, file, _use_new_zipfile_serialization=not legacy)
        yield Case(f"torch.save, legacy {legacy}", file.getvalue(), "unsafe", "posix.system")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("model.zip")
        inner = zipped({"model.pkl": pickle.dumps(evil["x"])})
        entry.size = len(inner)
        tar.addfile(entry, io.BytesIO(inner))
    yield Case("a pickle in a zip in a tar", packed.getvalue(), "unsupported", "tar archive")
    yield Case("a pickle in a zip", inner, "unsupported", "without a model")
    pickled = zipped({"model_index.json": b"{}", "unet/model.bin": pickle.dumps(evil["x"])})
    yield Case("a pickle in a diffusers zip", pickled, "unsupported", "pickled weights")
    honest = io.BytesIO()
    torch.save({"w": torch.zeros(4)}, honest)
    yield Case("a torch file that was cut", honest.getvalue()[:-40], "corrupt", "no end")
    yield Case(
        "packed data.pkl", zipped({"x/data.pkl": b"\x80\x02N."}, DEFLATED), "corrupt", "packed"
    )
    program = {"x/data.pkl": b"N.", "x/code/__torch__.py": b"import os"}
    yield Case("TorchScript", zipped(program), "unsupported", "TorchScript")
    two = {"x/data.pkl": b"N.", "y/data.pkl": b"N."}
    yield Case("two pickles", zipped(two), "corrupt", "one data.pkl")
    tensor = b"\x80\x02(X" + sized(b"storage") + b"ctorch\nFloatStorage\nX" + sized(b"0")
    tensor += b"X" + sized(b"cpu") + b"J\x00\x00\x00\x7ftQ."
    yield Case(
        "a storage of 8 GB",
        zipped({"x/data.pkl": tensor, "x/data/0": b"1234"}),
        "corrupt",
        "has only 4",
    )


def safetensors_files() -> Iterator[Case]:
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    yield Case(
        "header of 17 MB",
        struct.pack("<Q", 17 << 20) + b'{"' + b" " * 64,
        "corrupt",
        "header claims",
    )
    yield Case(
        "header of 2^63", struct.pack("<Q", 2**63) + b'{"a":1}' * 8, "corrupt", "header claims"
    )
    yield Case(
        "header longer than the file",
        struct.pack("<Q", 999) + b'{"a":1}' * 8,
        "corrupt",
        "cut inside",
    )
    yield Case("header no JSON", header(b'{"a": nope}' + b" " * 20), "corrupt", "not JSON")
    yield Case("header with NaN", header(b'{"a": NaN}' + b" " * 20), "corrupt", "not JSON")
    deep = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    yield Case("header nested deep", header(deep), "corrupt", "not JSON")
    twice = json.dumps({"w": one})[:-1] + ", " + json.dumps({"w": one})[1:]
    yield Case("header names one tensor twice", header(twice.encode(), 8), "corrupt", "twice")
    yield Case("25,000 tensors", many(25_000), "corrupt", "20,000 tensors")
    yield Case("250,000 tensors", many(250_000), "corrupt", "20,000 tensors")
    entries = {
        "offsets beyond the file": {"data_offsets": [0, 80], "shape": [20]},
        "offsets below zero": {"data_offsets": [-8, 0]},
        "offsets of fractions": {"data_offsets": [0, 8.0]},
        "offsets back to front": {"data_offsets": [8, 0]},
        "shape and size differ": {"shape": [3]},
        "shape below zero": {"shape": [-2]},
        "shape of 2^60": {"shape": [2**60]},
        "shape of 100 axes": {"shape": [1] * 99 + [2]},
        "a gap in front": {"data_offsets": [4, 8], "shape": [1]},
        "unknown field": {"code": "import os"},
        "dtype a number": {"dtype": 5},
    }
    for name, change in entries.items():
        yield Case(name, header(json.dumps({"w": {**one, **change}}).encode(), 8), "corrupt")
    yield Case(
        "bytes behind the tensors",
        header(json.dumps({"w": one}).encode(), 99),
        "corrupt",
        "goes on",
    )
    overlap = {"a": one, "b": {**one, "data_offsets": [4, 12]}}
    yield Case(
        "tensors overlap", header(json.dumps(overlap).encode(), 12), "corrupt", "begins at byte 4"
    )
    strange = json.dumps({"w": {**one, "dtype": "F4_E2M1"}}).encode()
    yield Case("unknown dtype", header(strange, 8), "unsupported", "F4_E2M1")
    meta = json.dumps({"__metadata__": {"a": [1]}, "w": one}).encode()
    yield Case("metadata no texts", header(meta, 8), "corrupt", "metadata")


def zips() -> Iterator[Case]:
    index = {"model_index.json": b'{"_class_name": "StableDiffusionPipeline"}'}
    yield Case(
        "zip bomb", zipped({**index, "a.json": b"\0" * (64 << 20)}, DEFLATED), "corrupt", "zip bomb"
    )
    inner = zipped({"a": b"\0" * (16 << 20)}, DEFLATED)
    yield Case(
        "zip bomb in a zip",
        zipped({**index, "a.json": inner * 40}, DEFLATED),
        "corrupt",
        "zip bomb",
    )
    yield Case("a link", zipped(index, modes={"config.json": stat.S_IFLNK}), "unsafe", "a link")
    yield Case("a device", zipped(index, modes={"config.json": stat.S_IFCHR}), "unsafe", "a device")
    for name in ("../evil.json", "/etc/evil.json", "a/../../b.json", "a\\b.json", "C:evil.json"):
        yield Case(f"path {name}", zipped({**index, name: b"{}"}), "unsafe", "leaves the archive")
    yield Case("one name twice", doubled(), "corrupt", "twice")
    locked = bytearray(zipped(index))
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1
    yield Case("encrypted", bytes(locked), "corrupt", "encrypted")
    strange = bytearray(zipped(index))
    strange[strange.rindex(b"PK\x01\x02") + 10] = 12
    yield Case("packed with bzip2", bytes(strange), "corrupt", "unusual way")
    yield Case(
        "30,000 entries",
        zipped({f"{i}.json": b"" for i in range(30_000)}),
        "corrupt",
        "lists 30,000",
    )
    flipped = bytearray(zipped({"config.json": b'{"kind": "CriticNetwork"}' * 9}))
    flipped[50] ^= 1
    yield Case("a flipped bit", bytes(flipped), "corrupt", "broken")
    yield Case("empty zip", zipped({}), "unsupported", "without a model")
    yield Case("only an end", b"PK\x05\x06" + b"\xff" * 18, "corrupt")
    program = {**index, "unet/model.py": b"import os"}
    yield Case("code in a diffusers zip", zipped(program), "unsafe", "model.py")
    remote = {"config.json": b'{"kind": "CriticNetwork", "auto_map": {"AutoModel": "a--b.C"}}'}
    yield Case("auto_map", zipped(remote), "unsafe", "a--b.C")
    foreign = {"unet": ["evil", "UNet2DConditionModel"], "_class_name": "StableDiffusionPipeline"}
    custom = {"model_index.json": json.dumps(foreign).encode()}
    yield Case("a component of another library", zipped(custom), "unsupported", "evil")


def bombs() -> Iterator[Case]:
    yield Case(
        "half a million opcodes", b"\x80\x04(" + b"N" * 500_000 + b"t.", "corrupt", "opcodes"
    )
    laughs = b"\x80\x04]\x94" + b"".join(b"]\x94(h%ch%ce" % (i, i) for i in range(200)) + b"."
    yield Case("a billion laughs", laughs, "unsupported", "a pickle without a model")
    yield Case("memo at 2^32", padded(b"\x80\x04Nr\xff\xff\xff\xff."), "unsupported")
    yield Case(
        "nested 150,000 deep", b"\x80\x04" + b"]" * 150_000 + b"a" * 149_999 + b".", "unsupported"
    )
    yield Case("a text of 4 GB", b"\x80\x04X\xff\xff\xff\xff" + b"a" * 99, "corrupt", "broken")
    yield Case(
        "a text of 3 MB", b"\x80\x04X" + sized(b"a" * (3 << 20)) + b".", "corrupt", "1,048,576"
    )
    yield Case(
        "a number of 9,999 digits", b"\x80\x04L" + b"9" * 9999 + b"L\n.", "corrupt", "broken"
    )
    hashing = b"\x80\x04}" + b")" + b"2\x86" * 60 + b"Ns."
    yield Case("a key that hashes for ever", hashing, "corrupt", "key")
    copies = b"\x80\x02c_codecs\nencode\nq\x00X" + sized(b"a" * 2**19) + b"q\x01"
    yield Case(
        "copies of a text", copies + b"h\x00h\x01\x85R" * 50_000 + b".", "corrupt", "opcodes"
    )


def long_values() -> Iterator[Case]:
    for name, opcode in (("string", b"T"), ("bytes as text", b"\x8d"), ("number", b"\x8b")):
        size = struct.pack("<Q" if opcode == b"\x8d" else "<I", 3 << 20)
        data = b"\x80\x02" + opcode + size + b"a" * (3 << 20) + b"."
        yield Case(f"a {name} of 3 MB", data, "corrupt", "1,048,576")


def nothings() -> Iterator[Case]:
    yield Case("0 bytes", b"", "corrupt", "empty")
    yield Case("1 byte", b"\x80", "corrupt", "cut")
    yield Case("a web page", b"<!DOCTYPE html>" + b" " * 50, "unsupported", "web page")
    yield Case(
        "LFS pointer",
        b"version https://git-lfs.github.com/spec/v1\n",
        "unsupported",
        "git lfs pull",
    )
    yield Case("a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 64, "unsupported", "PNG")
    yield Case(
        "gzip", b"\x1f\x8b" + zlib.compress(bytes(range(99))), "unsupported", "unpack it first"
    )
    yield Case("noise", b"\xf0" + random.Random(1).randbytes(4096), "unsupported", "unknown kind")
    yield Case(
        "text", b"The quick brown fox jumps over the lazy dog.", "unsupported", "unknown kind"
    )


def corpus(canary: str) -> list[Case]:
    parts = (
        *(pickles(canary), torch_files(canary), safetensors_files()),
        *(zips(), bombs(), long_values(), nothings()),
    )
    return [case for part in parts for case in part]


def padded(data: bytes) -> bytes:
    return data + b" " * 16  # what lies behind the end is not read


def sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text.encode())]) + text.encode()


def in_storage(command: str) -> bytes:
    """`torch.storage._load_from_bytes` of a torch file that is a call in itself."""
    inner = io.BytesIO()
    torch.save(Calls(os.system, command), inner, _use_new_zipfile_serialization=False)
    return pickle.dumps({"w": Calls(torch.storage._load_from_bytes, inner.getvalue())})


def beside_weights(command: str) -> bytes:
    module = torch.nn.Linear(2, 2)
    module.register_buffer("note", torch.zeros(1))
    module.hook = Calls(os.system, command)
    return pickle.dumps({"G_ema": module})


def header(text: bytes, data: int = 0) -> bytes:
    return struct.pack("<Q", len(text)) + text + b"\0" * data


def many(count: int) -> bytes:
    entry = '"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
    return header(("{" + ",".join(entry % i for i in range(count)) + "}").encode())


def zipped(
    files: dict[str, bytes], method: int = STORED, modes: dict[str, int] | None = None
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, mode in (modes or {}).items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (mode | 0o644) << 16
            archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


def doubled() -> bytes:
    """Two entries of one name: what is checked need not be what is read."""
    data = zipped({"config.json": b"{}", "confiG.json": b"{}"})
    return data.replace(b"confiG.json", b"config.json")
