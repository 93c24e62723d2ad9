"""Sources of found pictures: a folder, or a dump of Danbooru's metadata beside its images.

    [[sources]]
    kind = "folder"
    path = "drawings"            # searched with its subfolders
    tags = "portrait -comic"     # which to take, in Danbooru's syntax; default: all

Beside `a.png` may lie `a.txt` (tags, separated by commas or lines) or `a.json` with any of
`tags` (a list, or as in the text file), `caption`, `rating`, `source`, `licence`.

    [[sources]]
    kind = "danbooru-json"
    metadata = "posts.jsonl"     # a JSON array or a JSON object a line
    images = "images"            # any layout; files are named by the post's id or its md5
    tags = "1girl rating:general"

Posts are as the site's API gives them (`tag_string_general`, …) or as in the Danbooru20xx data
sets (`tags` with `name` and `category`). Both kinds take `count`, `name`, `licence`, `title`,
`url`, `creator`, and `flip = false` where a mirrored picture would be wrong.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from models_core.data.picture import SUFFIXES, Skip, open_picture
from models_core.data.settings import RecipeError, read_table
from models_core.data.sources import Entry, Found
from models_core.data.tags import TagQuery

Self = TypeVar("Self", bound="FoundSource")
CATEGORIES = {"0": "general", "1": "artist", "3": "copyright", "4": "character", "5": "meta"}
# Artists and the site's own words (*highres*) can be asked for, but describe no picture.
DESCRIBING = ("character", "copyright", "general")


@dataclass(frozen=True)
class FoundSource:
    """What both kinds have."""

    name: str = ""
    tags: str = ""
    count: int | None = None
    licence: str = "unknown"
    title: str = ""
    url: str = ""
    creator: str = ""
    flip: bool = True

    drawn = False

    @property
    def label(self) -> str:
        return self.name

    @cached_property
    def query(self) -> TagQuery:
        return TagQuery.parse(self.tags)

    def limited(self: Self, count: int) -> Self:
        return dataclasses.replace(self, count=count)

    def entries(self, name: str, seed: str) -> Iterator[Entry]:
        for number, entry in enumerate(self._matching()):
            if number == self.count:
                return
            yield entry

    def _matching(self) -> Iterator[Entry]:
        raise NotImplementedError

    def fetch(self, payload: Mapping[str, Any], image_size: int, min_side: int) -> Found:
        if "skip" in payload:
            raise Skip(payload["skip"])
        image = open_picture(Path(payload["file"]), min_side)
        pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        return Found(
            image=image,
            id=payload.get("id") or pixels[:24],
            tags=payload["tags"],
            source=payload.get("source") or self.name,
            licence=payload.get("licence") or self.licence,
            caption=payload.get("caption"),
        )

    def credit(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "count": self.count,
            "title": self.title or self.name,
            "url": self.url,
            "creator": {"name": self.creator},
            "licence": {"name": self.licence},
        }

    def vocabulary(self) -> dict[str, list[str]]:
        return {}


@dataclass(frozen=True)
class FolderSource(FoundSource):
    """`kind = "folder"`"""

    path: Path = Path()

    def _matching(self) -> Iterator[Entry]:
        for file in _pictures(self.path):
            sidecar = next(filter(Path.is_file, map(file.with_suffix, (".json", ".txt"))), None)
            payload: dict[str, Any] = {"file": str(file), "tags": []}
            try:
                payload |= _read_sidecar(sidecar) if sidecar else {}
            except (ValueError, OSError):
                payload["skip"] = "unreadable sidecar"
            words = {tag.lower().replace(" ", "_") for tag in payload["tags"]}
            if "skip" in payload or self.query.matches(words, str(payload.get("rating", ""))):
                yield Entry(_key(file, payload), payload)


@dataclass(frozen=True)
class DanbooruSource(FoundSource):
    """`kind = "danbooru-json"`"""

    metadata: Path = Path()
    images: Path = Path()

    def _matching(self) -> Iterator[Entry]:
        files = {file.stem: file for file in reversed(_pictures(self.images))}
        for post in _read_posts(self.metadata):
            by_category = _post_tags(post)
            everything = {tag for tags in by_category.values() for tag in tags}
            if not self.query.matches(everything, str(post.get("rating", ""))):
                continue
            tags = [tag for category in DESCRIBING for tag in by_category.get(category, ())]
            number = str(post["id"])
            file = files.get(number) or files.get(str(post.get("md5", "")))
            payload = {
                "file": str(file or self.images / number),
                "id": f"danbooru-{number}",
                "tags": [_spaced(tag) for tag in tags],
                "source": f"danbooru/{number}",
            }
            yield Entry(_key(file, payload), payload)


KINDS: dict[str, type[FoundSource]] = {"folder": FolderSource, "danbooru-json": DanbooruSource}
PATHS = {"path", "metadata", "images"}


def parse_source(row: Mapping[str, Any], folder: Path) -> FoundSource:
    """A `[[sources]]` table; relative paths begin at the recipe's folder."""
    kind = row["kind"]
    own = {f.name for f in dataclasses.fields(KINDS[kind])}
    if extra := sorted(set(row) - own - {"kind"}):
        # A recipe of one source has the stages' tables and its own keys in one place.
        if "image_size" not in row:
            raise RecipeError(f"{kind} has no key {extra[0]!r}; it has {', '.join(sorted(own))}")
        row = {key: value for key, value in row.items() if key in own}
    values = {k: folder / v if k in PATHS and isinstance(v, str) else v for k, v in row.items()}
    values.pop("kind", None)
    needed = sorted(own & PATHS)
    for key in needed:
        if not values[key].exists():
            raise RecipeError(f"{kind}: {values[key]} ({key}) does not exist")
    values.setdefault("name", values[needed[-1]].stem)
    source = read_table(KINDS[kind], values, kind)
    if source.count is not None and source.count < 1:
        raise RecipeError(f"{kind}: count must be a number from 1")
    _ = source.query  # its errors belong to the reading of the recipe
    return source


def _pictures(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())


def _key(file: Path | None, payload: Mapping[str, Any]) -> str:
    """Changes with the file or what is said of it."""
    stamp = ""
    if file is not None and file.exists():
        stat = file.stat()
        stamp = f"{stat.st_size} {stat.st_mtime_ns}"
    said = json.dumps(payload, sort_keys=True)
    return hashlib.sha256(f"{said} {stamp}".encode()).hexdigest()[:24]


def _read_sidecar(file: Path) -> dict[str, Any]:
    if file.suffix == ".txt":
        return {"tags": _split(file.read_text())}
    said = json.loads(file.read_text())
    if not isinstance(said, dict):
        raise ValueError("not a JSON object")
    known = {k: str(said[k]) for k in ("caption", "rating", "source", "licence") if said.get(k)}
    tags = said.get("tags", [])
    return {**known, "tags": _split(tags) if isinstance(tags, str) else [str(t) for t in tags]}


def _split(text: str) -> list[str]:
    return [tag for part in text.splitlines() for tag in map(str.strip, part.split(",")) if tag]


def _read_posts(file: Path) -> Iterator[dict[str, Any]]:
    """The posts of a dump, one at a time where it has one a line."""
    with file.open(encoding="utf-8") as stream:
        whole = stream.read(1) == "["
        stream.seek(0)
        texts = [stream.read()] if whole else stream
        for line, text in enumerate(texts, 1):
            if not text.strip():
                continue
            try:
                read = json.loads(text)
            except ValueError as error:
                raise RecipeError(f"{file}, line {line} is not JSON: {error}") from error
            for post in read if whole else [read]:
                # The id becomes part of a file name.
                if not isinstance(post, dict) or not str(post.get("id", "")).isalnum():
                    raise RecipeError(f"{file}, line {line}: a post without an id")
                yield post


def _post_tags(post: Mapping[str, Any]) -> dict[str, list[str]]:
    """The tags of a post by category, whichever way the dump has them."""
    found: dict[str, list[str]] = {}
    if isinstance(post.get("tags"), list):
        for row in post["tags"]:
            row = row if isinstance(row, Mapping) else {"name": row}
            category = CATEGORIES.get(str(row.get("category", 0)), "meta")
            found.setdefault(category, []).append(str(row.get("name", "")))
        return found
    for category in CATEGORIES.values():
        found[category] = str(post.get(f"tag_string_{category}") or "").split()
    # Older dumps have one string for all.
    return found if any(found.values()) else {"general": str(post.get("tag_string", "")).split()}


def _spaced(tag: str) -> str:
    """`long_hair` → `long hair`; emoticons such as `:_)` and `o_o` stay."""
    return tag if len(tag) <= 3 else tag.replace("_", " ")
