"""Release bundles of ours, in a folder or a zip."""

from __future__ import annotations

import re
from typing import Any

from models_core.formats.diffusion import FIRST, BaseModel, read_single_file
from models_core.formats.files import Files, check_kinds, read_json
from models_core.formats.folders import ModelFolder, read_component, read_pipeline
from models_core.formats.lora import Lora, read_lora
from models_core.formats.verdicts import Corrupt, Incompatible
from models_core.releases.bundle import MANIFEST, MANIFEST_LIMIT, ReleaseError, parse_manifest
from models_core.releases.bundle import component_name as checked_name

BASE_FILE = "base/model.safetensors"
LORA_FILE = re.compile(r"loras/\d+/[^/]+\.safetensors")


def read_bundle(files: Files) -> ModelFolder:
    """Its manifest and every component; digests are compared when it is converted."""
    kept = check_kinds(files)
    read_json(files, MANIFEST)
    try:
        manifest = parse_manifest(files.read(MANIFEST, MANIFEST_LIMIT), MANIFEST)
        sizes = {checked_name(c): c["bytes"] for c in manifest["components"]}
    except ReleaseError as error:
        raise Corrupt(str(error)) from error
    for name, size in sizes.items():
        if name not in files.names or files.size(name) != size:
            raise Corrupt(f"{name} is missing, or has another size than release.json says")
    if extra := set(files.names) - sizes.keys() - {MANIFEST}:
        raise Corrupt(f"{min(extra)} is not part of the release")
    base = _read_base(files)
    pipeline = read_pipeline(files, "pipeline/", base)
    loras = _read_loras(files)
    critic = read_component(files, "critic/")
    if critic.kind != "critic":
        raise Incompatible(f"its critic folder holds a {critic.kind}")
    try:
        details = {**pipeline.details, **_described(manifest)}
    except (AttributeError, TypeError) as error:
        raise Corrupt(f"release.json is not laid out as one: {error}") from error

    def verify() -> None:
        for part in (pipeline, critic, *loras, *([base] if base else ())):
            part.check()

    return ModelFolder(files, "release", details, pipeline.weights, kept, verify)


def _read_base(files: Files) -> BaseModel | None:
    """The base, where it is a single file instead of folders of the pipeline."""
    if BASE_FILE not in files.names:
        return None
    header = files.header(BASE_FILE)
    if FIRST not in header.tensors:
        raise Incompatible(f"{BASE_FILE} is no Stable Diffusion")
    return read_single_file(header.tensors, header.metadata)


def _read_loras(files: Files) -> list[Lora]:
    headers = [files.header(name) for name in files.names if LORA_FILE.fullmatch(name)]
    return [read_lora(header.tensors, header.metadata) for header in headers]


def _described(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "architecture": "StyleDiffuser release",
        "release": {key: manifest[key] for key in ("name", "title", "params", "licences")},
        "tags": {group: list(tags) for group, tags in manifest["tags"].items()},
        "licence": "; ".join(str(entry.get("licence", entry)) for entry in manifest["licences"]),
    }
