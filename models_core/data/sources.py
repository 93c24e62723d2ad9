"""What every source of pictures gives to the pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from PIL import Image


class Entry(NamedTuple):
    """One picture a source may have: what tells it apart, and what `fetch` needs to have it.

    The key changes when the picture or its description does, so that it is collected anew.
    """

    key: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """A picture with its description. `tags` by group where the source knows groups."""

    image: Image.Image
    id: str
    tags: dict[str, str] | list[str]
    source: str
    licence: str
    crop: tuple[float, float, float] | None = None
    """Left, top, side as fractions of the width, where the source knows its face's place."""
    caption: str | None = None


class Source(Protocol):
    """One source of a recipe. Frozen dataclasses: they are sent to worker processes."""

    @property
    def label(self) -> str:
        """Tells it from the recipe's other sources."""

    @property
    def flip(self) -> bool:
        """May a mirrored picture be learnt from?"""

    @property
    def drawn(self) -> bool:
        """Is it drawn here, rather than found?"""

    @property
    def count(self) -> int | None:
        """How many pictures at most; None for all there are."""

    def limited(self, count: int) -> Source:
        """The same, with `count` pictures at most."""

    def entries(self, name: str, seed: str) -> Iterator[Entry]:
        """All there may be, in an order that stays. Quick: no picture is opened."""

    def fetch(self, payload: Mapping[str, Any], image_size: int, min_side: int) -> Found:
        """One picture; Skip says why it cannot be used."""

    def credit(self) -> dict[str, Any]:
        """Who made it, for dataset.json."""

    def vocabulary(self) -> dict[str, list[str]]:
        """The words it may use, by group; empty where only the pictures tell."""
