"""A composed release's `release.json`, and the small file that joins its parts.

pipeline/model_index.json   which classes open the folders beside it
pipeline/…  base/…          the base: folders, or one file
pipeline/prototype/  pipeline/adapter/  loras/1/  loras/2/  critic/  upscaler/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .models import Release
from .parts import LABELS, Part

INDEX = "pipeline/model_index.json"
OURS = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Composed:
    """Parts that fit, with everything else a release says."""

    name: str
    title: str
    description: str
    single: Sequence[Part]  # at most one a slot
    loras: Sequence[tuple[Part, float]]  # with their weights, in the order of fusing
    tags: Mapping[str, Any]
    params: Mapping[str, Any]
    credits: Sequence[str] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        return (*self.single, *(part for part, _ in self.loras))

    def of(self, slot: str) -> Part | None:
        return next((part for part in self.parts if part.slot == slot), None)


def manifest_of(composed: Composed) -> tuple[dict[str, Any], list[bytes]]:
    """The manifest, and the contents of the files that are not in the store yet."""
    index = _encoded(_index(composed))
    placed = [_entry(INDEX, index), *_placed(composed)]
    loras = [
        {"folder": f"loras/{number}", "weight": weight, "name": part.title}
        for number, (part, weight) in enumerate(composed.loras, start=1)
    ]
    manifest = {
        "format": 1,
        "name": composed.name,
        "title": composed.title,
        "description": composed.description,
        "tags": composed.tags,
        "params": {**composed.params, **({"loras": loras} if loras else {})},
        "components": sorted(placed, key=lambda entry: str(entry["file"])),
        "licences": list(_licences(composed)),
        "provenance": _provenance(composed),
        "measured": _measured(composed),
    }
    return manifest, [index]


def encode(manifest: Mapping[str, Any]) -> bytes:
    """The bytes whose digest is the release's name."""
    return _encoded(manifest)


def _encoded(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _entry(file: str, content: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {"file": file, "sha256": sha256, "bytes": len(content)}


def _index(composed: Composed) -> dict[str, Any]:
    """diffusers' table of contents. What is not in it is opened by our own reader: a base in one
    file, and a StyleGAN2 as its trainer saved it."""
    index: dict[str, Any] = {"_class_name": "StyleDiffuserPipeline", "adapter": [None, None]}
    base, prototype = composed.of("base"), composed.of("prototype")
    if base is not None and base.has_folders:
        whole = any(entry["file"] == "tokenizer/tokenizer.json" for entry in base.files)
        tokenizer = "PreTrainedTokenizerFast" if whole else "CLIPTokenizer"
        index |= {
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", tokenizer],
            "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        }
    if prototype is not None and any(entry["file"] == OURS for entry in prototype.files):
        index["prototype"] = ["models_core.stylediffuser.prototype", "Prototype"]
    if composed.of("adapter") is not None:
        index["adapter"] = ["models_core.stylediffuser.adapter", "StyleAdapter"]
    return dict(sorted(index.items()))


def _placed(composed: Composed) -> Iterator[dict[str, Any]]:
    numbers = {part.digest: n for n, (part, _) in enumerate(composed.loras, start=1)}
    for part in composed.parts:
        place = f"loras/{numbers[part.digest]}/" if part.slot == "lora" else part.place
        for entry in part.files:
            yield {
                "file": f"{place}{entry['file']}",
                "sha256": entry["sha256"],
                "bytes": entry["bytes"],
            }


def _licences(composed: Composed) -> Iterator[dict[str, str]]:
    """Of every source: a release's own lines, and what a checkpoint's file says of itself."""
    seen: list[Any] = []
    for line in composed.credits:
        yield {"name": line}
    for part in composed.parts:
        found: list[dict[str, str]] = []
        if part.checkpoint is not None:
            report = part.checkpoint.report
            told = {
                "what": LABELS[part.slot],
                "name": part.checkpoint.name,
                "author": (report.get("metadata") or {}).get("author"),
                "licence": report.get("licence"),
            }
            found = [{name: str(value) for name, value in told.items() if value}]
        elif source := _source(part):
            found = source.manifest.get("licences", [])
        for entry in found:
            if entry not in seen:
                seen.append(entry)
                yield dict(entry)


def _provenance(composed: Composed) -> dict[str, Any]:
    """Where each part is from, and what the releases it is from say of their own parts."""
    sources: dict[str, Any] = {}
    listed = []
    for part in composed.parts:
        entry = {"slot": part.slot, "title": part.title, "part": part.digest}
        source = _source(part)
        if part.checkpoint is not None:
            entry["sha256"] = part.checkpoint.sha256 or ""
        elif source is not None:
            entry["release"] = source.digest
            told = dict(source.manifest.get("provenance", {}))
            sources |= told.pop("sources", {})
            sources[source.digest] = {"title": source.title, **told}
        listed.append(entry)
    return {"parts": listed, "sources": sources, "credits": list(composed.credits)}


def _measured(composed: Composed) -> dict[str, Any]:
    """What was measured of a critic holds for it anywhere; the rest is a new release's to earn."""
    critic = composed.of("critic")
    source = _source(critic) if critic else None
    found = source.manifest.get("measured", {}).get("critic") if source else None
    return {"critic": found} if found else {}


def _source(part: Part) -> Release | None:
    """The release that had a part first."""
    return min(part.releases, key=lambda row: (row.created_at, row.pk), default=None)
