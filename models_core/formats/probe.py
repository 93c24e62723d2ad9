"""What a file is, told by its content; its name and extension are not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from models_core.formats import nvidia, rosinality, torchfile
from models_core.formats.allowed import Record
from models_core.formats.archive import Archive
from models_core.formats.diffusion import FIRST, read_single_file, refuse_others
from models_core.formats.files import FolderFiles, ZipFiles
from models_core.formats.folders import read_folder
from models_core.formats.header import looks_like_safetensors, read_header
from models_core.formats.lora import is_lora, read_lora
from models_core.formats.spans import Span, open_span
from models_core.formats.tensors import plain_state
from models_core.formats.verdicts import Corrupt, Unsupported

SHORTEST = 16  # bytes; no model has fewer
# Files that people mistake for checkpoints, by how they begin.
OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with git lfs pull"),
    (b"<!DOCTYPE", "a web page", "download the file itself, not the page about it"),
    (b"<html", "a web page", "download the file itself, not the page about it"),
    (b"GGUF", "a GGUF file", ""),
    (b"\x89HDF", "an HDF5 file", ""),
    (b"\x89PNG", "a PNG picture", ""),
    (b"\xff\xd8\xff", "a JPEG picture", ""),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"BZh", "a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (b"Rar!", "a RAR archive", "unpack it first"),
)
PICKLE_STARTS = b"(c]}lditI\x80"  # how pickles of any protocol begin


class Found(Protocol):
    """A checkpoint that was recognised. `check` raises where its parts do not fit."""

    def check(self) -> None: ...

    def report(self) -> dict[str, Any]: ...


@contextmanager
def probe(path: Path) -> Iterator[Found]:
    """What `path` holds, checked; usable until the context is left.

    Raises:
        Refused: one of its four kinds; nothing of the file has run.
        OSError: the file cannot be read.
    """
    if path.is_dir():
        found: Found = read_folder(FolderFiles(path))
        found.check()
        yield found
        return
    with open_span(path) as span:
        found = _probe_file(span)
        found.check()
        yield found


def _probe_file(span: Span) -> Found:
    if span.size == 0:
        raise Corrupt("it is empty: 0 bytes")
    if span.size < SHORTEST:
        raise Corrupt(f"it was cut: it has only {span.size} bytes")
    head = span.read(0, min(512, span.size))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _probe_zip(span)
    if looks_like_safetensors(head):
        return read_safetensors(span)
    if head.startswith(torchfile.LEGACY_START):
        return recognise(torchfile.load_legacy(span))
    if head[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return recognise(torchfile.load_pickle(span))
    for start, what, hint in OTHERS:
        if head.startswith(start):
            raise Unsupported(what, hint)
    if head[257:262] == b"ustar":
        raise Unsupported("a tar archive", "unpack it first")
    if head[0] in PICKLE_STARTS:
        try:
            return recognise(torchfile.load_pickle(span))
        except Corrupt:
            pass
    raise Unsupported("a file of an unknown kind")


def _probe_zip(span: Span) -> Found:
    archive = Archive(span)
    if any(name.rpartition("/")[2] == "data.pkl" for name in archive.names):
        return recognise(torchfile.load_zip(span, archive))
    return read_folder(ZipFiles(archive))


def read_safetensors(span: Span) -> Found:
    header = read_header(span)
    if found := _by_names(header.tensors, header.metadata):
        return found
    if "synthesis.b4.const" in header.tensors or "G.synthesis.b4.const" in header.tensors:
        raise Unsupported("a StyleGAN2 without its config.json", "zip the folder it lies in")
    raise Unsupported("a safetensors file of an unknown model")


def _by_names(weights: dict[str, Any], metadata: Mapping[str, Any]) -> Found | None:
    """The model that these names and shapes belong to."""
    if is_lora(weights):
        return read_lora(weights, metadata)
    refuse_others(weights)
    return read_single_file(weights, metadata) if FIRST in weights else None


def recognise(data: Any) -> Found:
    """The model in what a pickle or a torch file held."""
    if nvidia.is_snapshot(data):
        return nvidia.read_snapshot(data)
    if rosinality.is_checkpoint(data):
        return rosinality.read_checkpoint(data)
    if _is_tensorflow(data):
        raise Unsupported(
            "a StyleGAN2 of the TensorFlow version",
            "make a PyTorch one with legacy.py of stylegan2-ada-pytorch",
        )
    for state in (data, data.get("state_dict") if isinstance(data, dict) else None):
        if isinstance(state, dict) and (found := _by_names(plain_state(state), {})):
            return found
    raise Unsupported("a pickle without a model that is known here")


def _is_tensorflow(data: Any) -> bool:
    members = data if isinstance(data, tuple) else (data,)
    return any(isinstance(m, Record) and m.name.startswith("dnnlib.tflib.") for m in members)
