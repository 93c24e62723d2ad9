"""Reading a data recipe: a TOML file that says what a data set is made of, and how.

    name = "patchouli"
    seed = "patchouli"           # drawn sources only
    image_size = 512

    [[sources]]                  # see drawings.py (kind "dicebear", the default) and found.py
    kind = "danbooru-json"
    metadata = "dump/posts.jsonl"
    images = "dump/images"
    tags = "patchouli_knowledge 1girl rating:general -comic"
    licence = "see each post"

    [words]                      # which words of found pictures are labels, by group
    "hair" = ["purple hair", "long hair"]

    [collect]                    # this and the other stages' tables: settings.py
    near_duplicates = 12

Paths are relative to the recipe's folder.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models_core.data import drawings, found
from models_core.data.dicebear import SourceError
from models_core.data.settings import RecipeError, Settings
from models_core.data.sources import Source

__all__ = ["Recipe", "RecipeError"]


@dataclass(frozen=True)
class Recipe:
    name: str
    seed: str
    image_size: int
    sources: tuple[Source, ...]
    digest: str
    settings: Settings = field(default_factory=Settings)
    words: dict[str, list[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Pictures in all, of the sources that know how many."""
        return sum(source.count or 0 for source in self.sources)

    def own_name(self, source: Source, name: str) -> str:
        """`name`, made the source's own where there are several: ids and seeds begin with it."""
        return name if len(self.sources) == 1 else f"{name}-{source.label}"

    @classmethod
    def read(cls, file: Path) -> Recipe:
        """Read and check a recipe; RecipeError says what is wrong with it."""
        raw = file.read_bytes()
        try:
            table = tomllib.loads(raw.decode())
            shared = table.get("groups", {}) if "sources" in table else {}
            rows = table.get("sources", [table])
            sources = tuple(_parse_source(row, shared, file.parent) for row in rows)
            recipe = cls(
                name=table["name"],
                seed=table["seed"] if any(s.drawn for s in sources) else "",
                image_size=_image_size(table["image_size"]),
                sources=sources,
                digest=hashlib.sha256(raw).hexdigest(),
                settings=Settings.read(table, file.parent),
                words=_parse_words(table.get("words", {})),
            )
            recipe.check()
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"{file} is not TOML: {error}") from error
        except KeyError as error:
            raise RecipeError(f"{file} lacks the key {error}") from error
        except (RecipeError, SourceError) as error:
            raise RecipeError(f"{file}: {error}") from error
        return recipe

    def check(self) -> None:
        if not self.sources:
            raise RecipeError("there is no source")
        labels = [source.label for source in self.sources]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise RecipeError(f"{twice[0]} is a source twice; an image's id would be too")
        home: dict[str, str] = {}
        for name, tags in self.vocabulary().items():
            for tag in tags:
                if home.setdefault(tag, name) != name:
                    raise RecipeError(f"the tag {tag!r} is in two groups, {home[tag]!r}, {name!r}")

    def with_count(self, count: int) -> Recipe:
        """The same recipe with `count` images in all, spread over the sources as before.

        A smaller set is a part of the larger one, image by image. Where a source does not know
        how many it has, each gives `count` at most.
        """
        if any(source.count is None for source in self.sources):
            limits = [min(source.count or count, count) for source in self.sources]
        else:
            limits, done, begun = [], 0, 0
            for source in self.sources:
                done += source.count or 0
                limits.append(count * done // self.count - begun)
                begun += limits[-1]
        pairs = zip(self.sources, limits, strict=True)
        return replace(self, sources=tuple(source.limited(n) for source, n in pairs))

    def redrawn(self, name: str, seed: str) -> Recipe:
        """Other drawings by the same rules: another name gives other ids, and so other splits."""
        mixed = hashlib.sha256(f"{self.digest} {name} {seed}".encode()).hexdigest()
        return replace(self, name=name, seed=seed, digest=mixed)

    def vocabulary(self) -> dict[str, list[str]]:
        """Every word known beforehand by its group, in the order of the recipe."""
        words: dict[str, list[str]] = {}
        for vocabulary in (*(source.vocabulary() for source in self.sources), self.words):
            for name, tags in vocabulary.items():
                known = words.setdefault(name, [])
                known += [tag for tag in tags if tag not in known]
        return {name: tags for name, tags in words.items() if tags}


def _parse_source(row: Mapping[str, Any], shared: Mapping[str, Any], folder: Path) -> Source:
    kind = row.get("kind", "dicebear")
    if kind == "dicebear":
        return drawings.parse_source(row, shared)
    if kind in found.KINDS:
        return found.parse_source(row, folder)
    kinds = ", ".join(("dicebear", *found.KINDS))
    raise RecipeError(f"no kind of source {kind!r}; there are {kinds}")


def _parse_words(table: Any) -> dict[str, list[str]]:
    for name, tags in table.items():
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
            raise RecipeError(f"[words] {name!r} must be a list of words")
    return dict(table)


def _image_size(size: Any) -> int:
    if not isinstance(size, int) or not 8 <= size <= 4096:
        raise RecipeError(f"image_size = {size!r} is not a number from 8 to 4096")
    return size
