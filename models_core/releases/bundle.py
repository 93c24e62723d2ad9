"""Reading and verifying a bundle's `release.json`. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

FORMAT = 1
MANIFEST = "release.json"
MANIFEST_LIMIT = 4 * 2**20
FIELDS = {
    "format": int,
    "name": str,
    "title": str,
    "description": str,
    "tags": dict,
    "params": dict,
    "components": list,
    "licences": list,
    "provenance": dict,
    "measured": dict,
}
OPTIONAL = {"description", "provenance", "measured"}


class ReleaseError(ValueError):
    """A release bundle, or what is asked of it, is not as it should be."""


@dataclass(frozen=True)
class Bundle:
    """A verified release folder."""

    folder: Path
    digest: str
    manifest: dict[str, Any]

    def component(self, name: str) -> Path:
        """The folder of a component such as `critic`."""
        folder = self.folder / name
        if not folder.is_dir():
            raise ReleaseError(f"release {self.manifest['name']} has no component {name!r}")
        return folder


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The one way a manifest is written: indented UTF-8, fields in their fixed order.

    The order inside `tags` is kept: it is the order of the words in a caption.
    """
    ordered = {name: manifest[name] for name in FIELDS if name in manifest}
    return (json.dumps(ordered, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def release_digest(folder: Path) -> str:
    """The release's name: the digest of its `release.json`."""
    return file_digest(_manifest_file(folder))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Parse `release.json` and check its shape; the components are not looked at."""
    path = _manifest_file(folder)
    return parse_manifest(path.read_bytes(), path)


def parse_manifest(content: bytes, path: Path | str) -> dict[str, Any]:
    """The manifest in the bytes of `path`, which is named in errors."""
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise ReleaseError(f"{path} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise ReleaseError(f"{path} has format {found!r}; this version reads {FORMAT}")
    for field in manifest.keys() - FIELDS.keys():
        raise ReleaseError(f"{path}: unknown field {field!r}")
    for field, kind in FIELDS.items():
        if field in manifest and not isinstance(manifest[field], kind):
            raise ReleaseError(f"{path}: {field!r} must be a JSON {kind.__name__}")
        if field not in manifest and field not in OPTIONAL:
            raise ReleaseError(f"{path}: {field!r} is missing")
    return manifest


def verify_release(folder: Path) -> Bundle:
    """Check every file of the bundle against its digest; nothing may be missing or extra."""
    manifest = read_manifest(folder)
    named = {MANIFEST}
    for component in manifest["components"]:
        name = component_name(component)
        path = folder / name
        if not path.is_file():
            raise ReleaseError(f"{name} is missing from {folder}: copy the bundle again")
        if path.stat().st_size != component["bytes"] or file_digest(path) != component["sha256"]:
            raise ReleaseError(f"{name} in {folder} was changed or cut: copy the bundle again")
        named.add(name)
    for name in bundle_files(folder):
        if name not in named:
            raise ReleaseError(f"{name} in {folder} is not part of the release: remove it")
    return Bundle(folder, release_digest(folder), manifest)


def bundle_files(folder: Path) -> Iterator[str]:
    """Every file under `folder` by its path inside it, sorted; symbolic links are refused."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ReleaseError(f"{path} is a symbolic link; a bundle holds plain files only")
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _manifest_file(folder: Path) -> Path:
    path = folder / MANIFEST
    if not path.is_file():
        raise ReleaseError(f"{folder} is not a release bundle: it has no {MANIFEST}")
    if path.stat().st_size > MANIFEST_LIMIT:
        raise ReleaseError(f"{path} is larger than any release.json: not a release bundle")
    return path


def component_name(component: Any) -> str:
    """The path of a manifest's component, which stays inside the bundle."""
    if not isinstance(component, dict) or component.keys() != {"file", "sha256", "bytes"}:
        raise ReleaseError(f"a component needs file, sha256 and bytes, not {component!r}")
    name, digest = component["file"], component["sha256"]
    if not isinstance(name, str) or not isinstance(digest, str):
        raise ReleaseError(f"a component's file and sha256 are text, not {component!r}")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ReleaseError(f"{name}: {digest!r} is not a SHA-256 digest")
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\\" in name:
        raise ReleaseError(f"{name!r} does not stay inside the bundle")
    return name
