"""What releases are composed of: the parts that lie in the store, from checkpoints and releases.

A part is named by the digest of its files' digests, so one that several releases share, or that a
release took from a checkpoint, is one part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import shapes
from .models import Checkpoint, Release

# In the order a release is composed.
SLOTS = ("prototype", "base", "lora", "adapter", "critic", "upscaler")
LABELS = {
    "prototype": "prototype",
    "base": "base",
    "lora": "LoRA",
    "adapter": "adapter",
    "critic": "critic",
    "upscaler": "upscaler",
}
BASE_FOLDERS = ("unet/", "vae/", "text_encoder/", "tokenizer/", "scheduler/")
# Where a slot's files lie in a bundle. A base in one file lies in base/, folders in pipeline/.
PLACES = {
    "prototype": "pipeline/prototype/",
    "adapter": "pipeline/adapter/",
    "critic": "critic/",
    "upscaler": "upscaler/",
}
ALIKE = {"stylegan2": "prototype"}  # a checkpoint's kind that fills another slot
File = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """Weights for one slot: files by their paths inside the part, with digests and sizes."""

    slot: str
    files: tuple[File, ...]
    title: str
    checkpoint: Checkpoint | None = None
    releases: tuple[Release, ...] = ()

    @property
    def digest(self) -> str:
        """The part's name."""
        lines = sorted(f"{entry['sha256']} {entry['file']}" for entry in self.files)
        return hashlib.sha256("\n".join([self.slot, *lines]).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        return sum(entry["bytes"] for entry in self.files)

    @property
    def shape(self) -> Any:
        """Its sizes; `shapes.Untold` where its files do not tell them."""
        return shapes.read(self.slot, {entry["file"]: entry["sha256"] for entry in self.files})

    @property
    def trouble(self) -> str:
        """Why nothing can be composed with it; empty where something can."""
        try:
            _ = self.shape
        except shapes.Untold as untold:
            return str(untold)
        return ""

    @property
    def place(self) -> str:
        """The folder of a bundle that its files go to; a LoRA's is numbered by the release."""
        if self.slot == "base":
            return "pipeline/" if self.has_folders else "base/"
        return PLACES[self.slot]

    @property
    def has_folders(self) -> bool:
        return any(entry["file"].startswith("unet/") for entry in self.files)

    def named(self, key: str) -> bool:
        """Whether `key` means it: its digest, its checkpoint's id, or a release's digest."""
        if key == self.digest or (self.checkpoint and key == str(self.checkpoint.pk)):
            return True
        return self.slot != "lora" and any(key == release.digest for release in self.releases)


def all_parts() -> list[Part]:
    """Every part there is, one entry each: by its checkpoint where it has one, else by the oldest
    release that has it."""
    found: dict[str, Part] = {}
    for part in _sources():
        known = found.setdefault(part.digest, part)
        if known is not part:
            found[part.digest] = replace(known, releases=known.releases + part.releases)
    return list(found.values())


def _sources() -> Iterator[Part]:
    for checkpoint in Checkpoint.objects.filter(state=Checkpoint.State.READY):
        yield from of_checkpoint(checkpoint)
    for release in Release.objects.order_by("created_at", "pk"):
        yield from of_release(release)


def of_checkpoint(checkpoint: Checkpoint) -> Iterator[Part]:
    """A bundle's parts come with the release that it became."""
    slot, files = ALIKE.get(checkpoint.kind, checkpoint.kind), checkpoint.files
    if slot == "pipeline":
        found = _in_pipeline(files)
    elif slot == "base":
        found = {"base": _base_files(files) or files}
    elif slot == "prototype":
        found = {slot: [f for f in files if not f["file"].startswith("discriminator/")]}
    else:
        found = {slot: files} if slot in SLOTS else {}
    for own, entries in found.items():
        if entries:
            yield Part(own, tuple(entries), checkpoint.name, checkpoint)


def of_release(release: Release) -> Iterator[Part]:
    files = release.manifest.get("components", ())
    names = {entry["folder"]: entry.get("name") for entry in lora_entries(release)}
    found: dict[str, Any] = {slot: _under(files, f"{slot}/") for slot in ("critic", "upscaler")}
    found |= _in_pipeline(_under(files, "pipeline/"))
    found["base"] = _under(files, "base/") or found["base"]
    for slot, entries in found.items():
        if entries:
            yield Part(slot, tuple(entries), release.title, releases=(release,))
    for folder, name in names.items():
        if entries := _under(files, f"{folder}/"):
            yield Part("lora", tuple(entries), name or release.title, releases=(release,))


def lora_entries(release: Release) -> list[dict[str, Any]]:
    """The manifest's LoRAs, {folder, weight, name}, in their order."""
    listed = release.manifest.get("params", {}).get("loras")
    found = listed if isinstance(listed, list) else []
    return [entry for entry in found if isinstance(entry, dict) and "folder" in entry]


def _in_pipeline(files: Iterable[File]) -> dict[str, list[File]]:
    listed = list(files)
    found = {slot: _under(listed, f"{slot}/") for slot in ("prototype", "adapter")}
    return {**found, "base": _base_files(listed)}


def _base_files(files: Iterable[File]) -> list[File]:
    """The folders of a Stable Diffusion, with the licences beside them; none where it is a file."""
    found = [f for f in files if f["file"].startswith(BASE_FOLDERS)]
    beside = [f for f in files if "/" not in f["file"] and f["file"].endswith(".txt")]
    return [*found, *beside] if found else []


def _under(files: Iterable[File], prefix: str) -> list[File]:
    return [
        {**entry, "file": entry["file"].removeprefix(prefix)}
        for entry in files
        if entry["file"].startswith(prefix)
    ]
