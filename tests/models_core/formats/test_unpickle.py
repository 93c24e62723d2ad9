"""The inert unpickler: what honest pickles hold is read, what others reach for is named."""

import argparse
import collections
import pickle
import pickletools

import numpy as np
import pytest
import torch

from models_core.formats.allowed import Name, Record, numpy_array
from models_core.formats.loading import to_numpy
from models_core.formats.spans import Reader, Span
from models_core.formats.torchfile import load_legacy, load_pickle, load_zip
from models_core.formats.unpickle import Budget, resolve, unpickle
from models_core.formats.verdicts import Corrupt, Unsafe


class Config:
    def __init__(self, lr):
        self.lr = lr


class Table(dict):
    pass


class Row(list):
    pass


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


def load(data: bytes):
    return unpickle(Reader(Span.of(data)), Budget())


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_what_pickle_reads(protocol):
    shared = [1, 2]
    data = {
        "none": None,
        "numbers": (0, -1, 255, 256, 2**31, -(2**70), 1.5, True, False),
        "texts": ["", "a\nb", "ä \U0001f600", b"", b"\x00\xff", "x" * 300],
        "nested": [{}, [], (), ((1,), (2, 3), (4, 5, 6), (7, 8, 9, 10))],
        "twice": [shared, shared],
        "ordered": collections.OrderedDict(a=1, b=2),
        3: "a number as a key",
    }
    found = load(pickle.dumps(data, protocol))
    assert found == data
    assert found["twice"][0] is found["twice"][1]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_objects_become_records_of_their_state(protocol):
    table, row = Table(a=1), Row([1, 2])
    table.note = "kept"
    data = [Config(0.1), table, row, argparse.Namespace(size=4), Config, Slotted(3), {1, 2}]
    config, found_table, found_row, space, name, slotted, members = load(
        pickle.dumps(data, protocol)
    )
    assert (config.name, config.state) == (f"{__name__}.Config", {"lr": 0.1})
    assert (found_table.items, found_table.state) == ({"a": 1}, {"note": "kept"})
    assert found_row.entries == [1, 2]
    assert space.state == {"size": 4}
    assert name == Name(f"{__name__}.Config")
    assert slotted.state == (None, {"x": 3})
    assert members == [1, 2]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numpy_arrays_and_numbers(protocol):
    arrays = [np.arange(6.0).reshape(2, 3), np.arange(6, dtype="i4").reshape(2, 3).T, np.ones(())]
    numbers = [np.float32(1.5), np.int64(-3), np.float16(0.5), np.bool_(True)]
    found = load(pickle.dumps(arrays + numbers, protocol))
    for record, array in zip(found, arrays, strict=False):
        assert isinstance(record, Record)
        assert np.array_equal(to_numpy(numpy_array(record)), array)
    assert found[len(arrays) :] == numbers


TENSORS = {
    "view": torch.arange(24.0).reshape(2, 3, 4)[:, 1:, ::2],
    "half": torch.randn(3).half(),
    "bfloat16": torch.randn(3).bfloat16(),
    "float8": torch.randn(3).to(torch.float8_e4m3fn),
    "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    "scalar": torch.tensor(3),
    "empty": torch.zeros(0, 4),
    "bool": torch.tensor([True, False]),
    "channels last": torch.randn(1, 2, 3, 4).to(memory_format=torch.channels_last),
}


def stored(kind: str, data, tmp_path):
    from models_core.formats.archive import Archive

    file = tmp_path / "x.pt"
    if kind == "pickle":
        return load_pickle(Span.of(pickle.dumps(data)))
    torch.save(data, file, _use_new_zipfile_serialization=kind == "zip")
    span = Span.of(file.read_bytes())
    return load_zip(span, Archive(span)) if kind == "zip" else load_legacy(span)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle"])
def test_tensors_are_what_torch_reads(kind, tmp_path):
    found = stored(kind, TENSORS, tmp_path)
    assert found.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        kind = getattr(torch, found[name].dtype)
        ours = torch.from_numpy(to_numpy(found[name]).copy()).view(kind)
        assert ours.dtype == value.dtype
        assert ours.shape == value.shape
        assert torch.equal(ours.float(), value.detach().float()), name


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("torch", "serialization.os.system"),
        ("torch.hub", "os.system"),
        ("subprocess", "Popen"),
        ("importlib", "import_module"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("copyreg", "add_extension"),
        ("", "os.system"),
    ],
)
def test_names_of_pythons_own_are_refused_even_uncalled(module, name):
    with pytest.raises(Unsafe) as refused:
        resolve(module, name)
    assert name in refused.value.reached


@pytest.mark.parametrize(
    "path", ["torch.hub.load", "numpy.load", "torch.load", "pip.main", "somebodys.module.function"]
)
def test_any_call_is_refused_by_name(path):
    module, _, name = path.rpartition(".")
    with pytest.raises(Unsafe) as refused:
        load(f"c{module}\n{name}\n(S'x'\ntR.".encode())
    assert refused.value.reached == path


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "exhausted"),
        (b"N", "broken"),
        (b".", "empty stack"),
        (b"(.", "empty stack"),
        (b"R.", "empty stack"),
        (b"t.", "empty stack"),
        (b"g5\n.", "broken"),
        (b"\x80\x04\x95", "broken"),
        (b"\xff.", "broken"),
        (b"I" + b"9" * 5000 + b"\n.", "broken"),
        (b"N(I1\nI2\nu.", "sets items"),
        (b"](I1\nd.", "sets items"),
        (b"}]Ns.", "dictionary's key is a list"),
        (b"}" + b"(" * 3 + b"t" * 3 + b"Ns.", "dictionary's key is a tuple"),
        (b"K\x01K\x02a.", "appends to 1"),
        (b"K\x01(tR.", "no function"),
        (b"K\x01)\x81.", "no class"),
        (b"K\x01}b.", "gives a state to 1"),
        (b"\x97.", "outside the file"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI2\ntR.", "broken"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI2\n)))tR.", "instead of numbers"),
    ],
)
def test_broken_pickles_are_told(data, says):
    with pytest.raises(Corrupt, match=says):
        load(data)


@pytest.mark.parametrize("data", [b"Pname\n.", b"K\x05Q.", b"\x82\x01."])
def test_what_lies_outside_the_file_is_refused(data):
    with pytest.raises(Unsafe):
        load(data)


def test_a_class_cannot_be_changed():
    with pytest.raises(Unsafe, match=r"somebodys\.Class"):
        load(b"csomebodys\nClass\n}S'__init__'\nN" + b"sb.")


def test_bombs_end_soon():
    with pytest.raises(Corrupt, match="opcodes"):
        load(b"(" + b"N" * 500_000 + b"t.")
    laughs = (
        b"]"
        + b"q\x00"
        + b"".join(
            b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e" + b"q" + bytes([i + 1])
            for i in range(200)
        )
    )
    with pytest.raises(Corrupt, match="no function"):
        load(laughs + b")R.")
    copies = (
        b"\x80\x02c_codecs\nencode\nq\x00X\x00\x00\x08\x00"
        + b"a" * 2**19
        + b"q\x01"
        + (b"h\x00h\x01\x85R" * 50_000)
    )
    with pytest.raises(Corrupt, match="opcodes"):
        load(copies + b".")


def test_a_view_stays_inside_its_storage():
    good = pickle.dumps(torch.zeros(4), 2)
    ops = {op.name for op, _, _ in pickletools.genops(good)}
    assert "REDUCE" in ops
    assert to_numpy(load_pickle(Span.of(good))).tolist() == [0, 0, 0, 0]
    count = good.rindex(b"K\x04\x85")
    for patched in (b"K\x05\x85", b"K\xff\x85"):
        with pytest.raises(Corrupt, match="does not fit into its 4 numbers"):
            load_pickle(Span.of(good[:count] + patched + good[count + 3 :]))
