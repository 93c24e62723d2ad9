"""The `dicebear` source: drawn avatars with their own description as tags, offline.

A style definition is a JSON file of the `dicebear-styles` package; every drawing is decided by a
seed and an options dictionary, so a drawing's tags are known exactly and cost nothing. Options
may be forced to weighted choices and tied to each other by rules, because independent choices
give combinations that no artist would draw (a full beard under a bun with long hair).
"""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from dicebear import Avatar, Style
from PIL import Image


class SourceError(ValueError):
    """The source cannot be used as asked."""


@dataclass(frozen=True)
class Choice:
    """One trait of a drawing: a tag, its weight in the draw, and the options that draw it.

    `also` says more of the same trait, as tags of other groups (a bob is hair of some length);
    `hides` names the groups of which the trait leaves nothing to see (a bald head's hair colour).
    """

    tag: str
    weight: float
    options: Mapping[str, Any]
    also: Mapping[str, str] = field(default_factory=dict)
    hides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Traits of which each drawing has exactly one. An empty tag means "nothing to say"."""

    name: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Drawing:
    seed: str
    tags: dict[str, str]
    options: dict[str, Any]


def style_definition(name: str) -> dict[str, Any]:
    """The JSON definition of a style by its file name, such as `toon-head`."""
    spec = importlib.util.find_spec("dicebear_styles")
    folders = list(spec.submodule_search_locations or []) if spec else []
    for folder in folders:
        file = Path(folder) / f"{name}.json"
        if file.is_file():
            return json.loads(file.read_text())
    raise SourceError(f"no dicebear style {name!r}; the dicebear-styles package lists them all")


def draw_options(groups: Sequence[Group], rules: Sequence[Rule], seed: str) -> Drawing:
    """Choose one trait per group, redrawing while a rule forbids the combination."""
    dice = random.Random(seed)  # nosec B311  # noqa: S311  drawing lots, not secrets
    for _ in range(1000):
        chosen = {
            g.name: dice.choices(g.choices, weights=[c.weight for c in g.choices])[0]
            for g in groups
        }
        tags = _describe(chosen)
        if all(rule.allows(tags) for rule in rules):
            options: dict[str, Any] = {}
            for choice in chosen.values():
                options.update(choice.options)
            return Drawing(seed, tags, options)
    raise SourceError("the rules leave no combination to draw")


def _describe(chosen: Mapping[str, Choice]) -> dict[str, str]:
    """The tag of every group: the traits' own, what they say besides, less what they hide."""
    tags = {name: choice.tag for name, choice in chosen.items()}
    for choice in chosen.values():
        tags.update(choice.also)
    for choice in chosen.values():
        tags.update(dict.fromkeys(choice.hides, ""))
    return tags


@dataclass(frozen=True)
class Rule:
    """Where `when` has one of its tags, `then` must have one of its own."""

    when: tuple[str, frozenset[str]]
    then: tuple[str, frozenset[str]]

    def allows(self, tags: Mapping[str, str]) -> bool:
        (group, values), (other, allowed) = self.when, self.then
        return tags.get(group, "") not in values or tags.get(other, "") in allowed


def render(style: Style, drawing: Drawing, size: int) -> Image.Image:
    """Rasterise one drawing to `size`×`size` RGB (antialiased by librsvg)."""
    svg = str(Avatar(style, {"seed": drawing.seed, **drawing.options}))
    image = pyvips.Image.thumbnail_buffer(svg.encode(), size, height=size)
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    pixels = np.asarray(image.colourspace("srgb").numpy(), dtype=np.uint8)
    return Image.fromarray(pixels[..., :3])
