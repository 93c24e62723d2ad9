"""What a recipe may set for each stage, beside its sources; absent keys have these defaults."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
BUILT_IN = ("blazeface", "realesrgan", "none")


class RecipeError(ValueError):
    """The recipe cannot be followed; the message names the place."""


@dataclass(frozen=True)
class Collect:
    """`[collect]`"""

    min_side: int = 32
    """Pictures with a shorter side than this are left out."""
    near_duplicates: float = 12.0
    """Two pictures differ if the mean colour of some cell of a 16×16 grid differs by this (of
    255); 0 keeps near-duplicates. Drawn sources are not compared: their drawings differ by a
    trait at a time on purpose."""

    def check(self) -> None:
        _range("collect.min_side", self.min_side, 1, 65536)
        _range("collect.near_duplicates", self.near_duplicates, 0, 255)


@dataclass(frozen=True)
class Crop:
    """`[crop]`, for sources that do not know where their faces are."""

    detector: str = "blazeface"
    """`blazeface`, `none` (the middle of the picture) or the path of a YOLOv5/v8 ONNX export."""
    confidence: float = 0.4
    """Faces the detector is less sure of do not count."""
    face_class: int | None = None
    """YOLO only: the class that is a face, where the detector has several."""
    margin: float = 1.8
    """The crop's side, in sides of the face's box."""
    shift: float = -0.1
    """How far the crop's centre lies below the face's, in sides of the face's box."""
    faces: str = "largest"
    """`largest` of the faces the detector is nearly as sure of as of the surest, or `single`:
    pictures with several such faces are left out."""
    min_face: int = 16
    """Faces with a smaller box (pixels) are overlooked."""
    whole: str = "square"
    """The whole image: the largest `square` of the picture around the crop, or the picture
    with white borders (`pad`)."""

    def check(self) -> None:
        _range("crop.confidence", self.confidence, 0, 1)
        _range("crop.margin", self.margin, 0.1, 10)
        _range("crop.shift", self.shift, -5, 5)
        _range("crop.min_face", self.min_face, 1, 65536)
        _one_of("crop.faces", self.faces, ("largest", "single"))
        _one_of("crop.whole", self.whole, ("square", "pad"))


@dataclass(frozen=True)
class SuperResolve:
    """`[super_resolve]`"""

    model: str = "realesrgan"
    """What enlarges pictures that are too small ×4 before they are resized: `realesrgan`
    (animevideov3 of the installed wheel), `none`, or a folder of `convert upscaler`."""

    def check(self) -> None:
        pass


@dataclass(frozen=True)
class Prune:
    """`[prune]`; without it nothing is removed."""

    clusters: int = 0
    """k of the k-means on the crops' features; 0 does without."""
    keep: int | list[int] = 1
    """How many of the largest clusters stay, or after a look at them their numbers: `[1, 3]`."""
    unsafe: float | None = None
    """Whole images with a safety score (0 safe, 1 unsafe) above this are removed."""
    seed: int = 0

    @property
    def kept(self) -> list[int]:
        """Numbers, from 1, of the clusters that stay."""
        if isinstance(self.keep, int):
            return list(range(1, max(self.keep, 0) + 1)) or [self.keep]
        return self.keep

    def check(self) -> None:
        _range("prune.clusters", self.clusters, 0, 1000)
        if self.clusters:
            for number in self.kept:
                _range("prune.keep", number, 1, self.clusters)
        if self.unsafe is not None:
            _range("prune.unsafe", self.unsafe, 0, 1)


@dataclass(frozen=True)
class Settings:
    """Every stage's."""

    collect: Collect = dataclasses.field(default_factory=Collect)
    crop: Crop = dataclasses.field(default_factory=Crop)
    super_resolve: SuperResolve = dataclasses.field(default_factory=SuperResolve)
    prune: Prune = dataclasses.field(default_factory=Prune)

    @classmethod
    def read(cls, table: Mapping[str, Any], folder: Path) -> Settings:
        """The stages' tables of a recipe; paths of models begin at its folder.

        A drawn recipe's `crop` is a list, and its source's.
        """
        parts: dict[str, Any] = {}
        for name, kind in (("collect", Collect), ("super_resolve", SuperResolve), ("prune", Prune)):
            parts[name] = read_table(kind, table.get(name, {}), f"[{name}]")
        crop = table.get("crop", {})
        parts["crop"] = read_table(Crop, crop if isinstance(crop, Mapping) else {}, "[crop]")
        for name, key in (("crop", "detector"), ("super_resolve", "model")):
            value = getattr(parts[name], key)
            if value not in BUILT_IN:
                if not (folder / value).exists():
                    raise RecipeError(f"{name}.{key}: no file {folder / value}")
                parts[name] = dataclasses.replace(parts[name], **{key: str(folder / value)})
        for part in parts.values():
            part.check()
        return cls(**parts)


def read_table(kind: type[T], table: Any, where: str) -> T:
    """A dataclass from a TOML table; RecipeError for keys it has not and values of other types."""
    if not isinstance(table, Mapping):
        raise RecipeError(f"{where} must be a table")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key, value in table.items():
        if key not in fields:
            raise RecipeError(f"{where} has no key {key!r}; it has {', '.join(fields)}")
        _type(f"{where} {key}", value, str(fields[key].type))
    return kind(**table)


TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "bool": (bool,),
    "Path": (str, Path),
}


def _type(where: str, value: Any, annotation: str) -> None:
    """Is the value of a type that the field's annotation names?"""
    names = [name for name in annotation.split(" | ") if name != "None"]
    if "list[int]" in names and isinstance(value, list):
        fits = bool(value) and all(type(v) is int for v in value)
    elif isinstance(value, bool):
        fits = "bool" in names
    else:
        fits = any(isinstance(value, TYPES[name]) for name in names if name in TYPES)
    if not fits:
        raise RecipeError(f"{where} = {value!r} is not of type {' or '.join(names)}")


def _range(where: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RecipeError(f"{where} = {value} is not from {low} to {high}")


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RecipeError(f"{where} = {value!r}: choose {' or '.join(known)}")
