"""The files of a model folder, whether it lies on the disk or in a zip."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from models_core.formats.archive import MAX_ENTRIES, Archive
from models_core.formats.header import MAX_HEADER, Header, parse_header, read_header
from models_core.formats.spans import open_span
from models_core.formats.verdicts import Corrupt, Unsafe, Unsupported, shown

MAX_JSON = 8 << 20  # bytes; a CLIP tokenizer has 2.2 MB
KEPT = {".json", ".txt", ".safetensors"}
IGNORED = {".gitattributes", ".gitignore", ".DS_Store", ".md", ".png", ".jpg", ".jpeg", ".webp"}
CODE = {".py", ".pyc", ".so", ".sh", ".exe", ".dll", ".js", ".ipynb"}
PICKLES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}


class Files(Protocol):
    """Files by their path inside the folder."""

    names: list[str]

    def size(self, name: str) -> int: ...

    def read(self, name: str, limit: int) -> bytes: ...

    def header(self, name: str) -> Header: ...

    def copy(self, name: str, target: Path) -> None: ...


class FolderFiles:
    """A folder on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = []
        for path in _walk(folder):
            self.names.append(path.relative_to(folder).as_posix())
            if len(self.names) > MAX_ENTRIES:
                raise Corrupt(f"its folder holds more than {MAX_ENTRIES:,} files")

    def size(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def read(self, name: str, limit: int) -> bytes:
        with open_span(self.folder / name) as span:
            if span.size > limit:
                raise Corrupt(f"{shown(name)} has {span.size:,} bytes, more than {limit:,}")
            return span.read()

    def header(self, name: str) -> Header:
        with open_span(self.folder / name) as span:
            return read_header(span)

    def copy(self, name: str, target: Path) -> None:
        shutil.copyfile(self.folder / name, target, follow_symlinks=False)


class ZipFiles:
    """A zip of a folder, or of its contents."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        names = [name for name in archive.names if not name.startswith("__MACOSX/")]
        tops = {name.partition("/")[0] for name in names}
        nested = len(tops) == 1 and all("/" in name for name in names)
        self.root = f"{tops.pop()}/" if nested else ""
        self.names = sorted(name.removeprefix(self.root) for name in names)

    def size(self, name: str) -> int:
        return self.archive.entries[self.root + name].file_size

    def read(self, name: str, limit: int) -> bytes:
        return self.archive.read(self.root + name, limit)

    def header(self, name: str) -> Header:
        entry = self.root + name

        def read(at: int, size: int) -> bytes:
            if at + size > MAX_HEADER + 8:
                raise Corrupt(f"{shown(name)} claims a header of {size:,} bytes")
            return self.archive.start(entry, at + size)[at:]

        return parse_header(read, self.size(name))

    def copy(self, name: str, target: Path) -> None:
        with target.open("wb") as file:
            self.archive.copy(self.root + name, file)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            raise Unsafe(shown(path.name), "a link instead of a file")
        if path.is_dir():
            yield from _walk(path)
        elif path.is_file():
            yield path
        else:
            raise Unsafe(shown(path.name), "a device instead of a file")


def check_kinds(files: Files) -> list[str]:
    """The files that are kept: weights and text. Code is refused, pickles are not taken."""
    kept = []
    for name in files.names:
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in CODE:
            raise Unsafe(shown(name), "a program beside the weights")
        if suffix in PICKLES:
            raise Unsupported(
                f"a model folder with pickled weights ({name[:120]})",
                "save it with safe_serialization=True, so that they are safetensors",
            )
        if suffix in KEPT or is_licence(name):
            kept.append(name)
        elif suffix not in IGNORED and PurePosixPath(name).name not in IGNORED:
            raise Unsupported(f"a model folder with a file of an unknown kind ({name[:120]})")
    return kept


def is_licence(name: str) -> bool:
    """A licence goes where its weights go, whatever its extension."""
    return PurePosixPath(name).name.upper().startswith(("LICENSE", "LICENCE"))


def kept_name(name: str) -> str:
    """What a kept file is called afterwards: nothing but JSON, text and safetensors remains."""
    return name if PurePosixPath(name).suffix.lower() in KEPT else f"{name}.txt"


def read_json(files: Files, name: str) -> dict[str, Any]:
    """A table from a JSON file; settings that would load code are refused."""
    if name not in files.names:
        raise Corrupt(f"it lacks {name}")
    try:
        found = json.loads(files.read(name, MAX_JSON))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Corrupt(f"{name} is no table")
    if "auto_map" in found or "custom_pipeline" in found:
        raise Unsafe(shown(found.get("auto_map", found.get("custom_pipeline"))), f"from {name}")
    return found
