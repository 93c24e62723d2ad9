"""Drawn sources: which drawings to make, and how each is described.

In a recipe with one drawn source its keys stand at the top (`style`, `count`, `crop`, `groups`,
`rules`); with several, each `[[sources]]` table has them, and the top's `[groups]` are shared by
every source, so that a word means the same in all of them:

    [groups.skin]
    "light skin" = { skinColor = "#f1c3a5" }

    [[sources]]
    style = "micah"
    tag = "micah style"                       # every image of this source has it (group "style")
    count = 2000
    crop = [0.1, 0.0, 0.8]                    # left, top, side as fractions of the drawing
    shared = ["skin"]                         # which shared groups it draws (default: all)
    rename = { skinColor = ["baseColor"] }    # what this style calls a shared group's option
    groups."hair style"."bald" = { hairVariant = "mrClean", hides = ["hair colour"] }

In a choice, `weight` is its share in the draw (1 where absent), `tag` its word (its key where
absent; `""` leaves it undescribed), `also` words of other groups that it implies, `hides` the
groups whose words do not hold with it; every other key is an option of the style. In a rule,
`when = {beard = ["full beard"]}, then = {"hair length" = ["short hair", ""]}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from models_core.data.dicebear import (
    Choice,
    Group,
    Rule,
    Style,
    draw_options,
    render,
    style_definition,
)
from models_core.data.settings import RecipeError
from models_core.data.sources import Entry, Found

WORDS_OF_A_CHOICE = ("weight", "tag", "also", "hides")
STYLE_GROUP = "style"


@dataclass(frozen=True)
class DrawnSource:
    """One drawn style: how many images of it, and what they are described by."""

    style: str
    count: int
    crop: tuple[float, float, float]
    groups: tuple[Group, ...]
    rules: tuple[Rule, ...]
    flip: bool = False
    """Is a drawing's mirror image one of the style's own? Partings and winks have a side."""

    drawn = True

    @property
    def label(self) -> str:
        return self.style

    def limited(self, count: int) -> DrawnSource:
        return replace(self, count=count)

    def entries(self, name: str, seed: str) -> Iterator[Entry]:
        """A drawing's number, which with the names decides all of it."""
        for index in range(self.count):
            image_id = f"{name}-{index:06d}"
            yield Entry(image_id, {"id": image_id, "seed": f"{seed}-{index}"})

    def fetch(self, payload: Mapping[str, Any], image_size: int, min_side: int) -> Found:
        """Draw so large that the crop still has twice the pixels wanted."""
        drawing = draw_options(self.groups, self.rules, payload["seed"])
        image = render(_style(self.style), drawing, round(2 * image_size / self.crop[2]))
        return Found(
            image=image,
            id=payload["id"],
            tags={group: tag for group, tag in drawing.tags.items() if tag},
            source=f"dicebear/{self.style}",
            licence=style_definition(self.style)["meta"]["license"]["name"],
            crop=self.crop,
        )

    def credit(self) -> dict[str, Any]:
        """Who drew a source and under which licence, as the style's own definition says."""
        meta = style_definition(self.style)["meta"]
        return {
            "style": self.style,
            "count": self.count,
            "title": meta["source"]["name"],
            "url": meta["source"]["url"],
            "creator": meta["creator"],
            "licence": meta["license"],
        }

    def vocabulary(self) -> dict[str, list[str]]:
        """Every word by its group, in the order of the recipe."""
        words: dict[str, list[str]] = {}
        for group in self.groups:
            for choice in group.choices:
                for name, tag in ((group.name, choice.tag), *choice.also.items()):
                    known = words.setdefault(name, [])
                    if tag and tag not in known:
                        known.append(tag)
        return words


@cache
def _style(name: str) -> Style:
    """Loaded once in each process."""
    return Style(style_definition(name))


def parse_groups(table: Mapping[str, Any]) -> tuple[Group, ...]:
    """Read `[groups."hair colour"]` tables: `"pink hair" = {hairColor = "#f48fb1"}`."""
    groups = []
    for name, choices in table.items():
        if not isinstance(choices, dict) or not choices:
            raise RecipeError(f"group {name!r} has no choices")
        parsed = tuple(_parse_choice(name, key, spec) for key, spec in choices.items())
        if not any(choice.weight for choice in parsed):
            raise RecipeError(f"group {name!r} has no choice with a weight above 0")
        groups.append(Group(name, parsed))
    return tuple(groups)


def _parse_choice(group: str, key: str, spec: Any) -> Choice:
    if not isinstance(spec, dict):
        raise RecipeError(f'{group!r}: {key!r} must be a table such as {{hairColor = "#f48fb1"}}')
    weight = spec.get("weight", 1)
    if not isinstance(weight, int | float) or weight < 0:
        raise RecipeError(f"{group!r}: {key!r} has weight {weight!r}, not a number from 0")
    options = {k: v for k, v in spec.items() if k not in WORDS_OF_A_CHOICE}
    also, hides = spec.get("also", {}), tuple(spec.get("hides", ()))
    return Choice(spec.get("tag", key), float(weight), options, also, hides)


def parse_rules(rows: Sequence[Mapping[str, Any]], groups: Sequence[Group]) -> tuple[Rule, ...]:
    """Read `[[rules]]` rows: `when = {beard = ["full beard"]}, then = {"hair length" = [""]}`."""
    words: dict[str, set[str]] = {}
    for group in groups:
        for choice in group.choices:
            words.setdefault(group.name, {""}).add(choice.tag)
            for name, tag in choice.also.items():
                words.setdefault(name, {""}).add(tag)

    def side(row: Mapping[str, Any], key: str) -> tuple[str, frozenset[str]]:
        if len(row.get(key, ())) != 1:
            raise RecipeError(f"a rule needs one group in `{key}`, as {{group = [tags]}}: {row}")
        ((group, values),) = row[key].items()
        unknown = set(values) - words.get(group, set())
        if group not in words or unknown:
            wrong = f"no tag {sorted(unknown)[0]!r}" if group in words else "no such group"
            raise RecipeError(f"a rule names {group!r}: {wrong}")
        return group, frozenset(values)

    return tuple(Rule(side(row, "when"), side(row, "then")) for row in rows)


def parse_source(row: Mapping[str, Any], shared: Mapping[str, Any]) -> DrawnSource:
    style = row["style"]
    own = list(row.get("shared", shared))
    if missing := [name for name in own if name not in shared]:
        raise RecipeError(f"{style}: no shared group {missing[0]!r} at the top of the recipe")
    groups = _rename(parse_groups({name: shared[name] for name in own}), row.get("rename", {}))
    groups += parse_groups(row.get("groups", {}))
    if "tag" in row:
        groups = (Group(STYLE_GROUP, (Choice(row["tag"], 1, {}),)), *groups)
    left, top, side = row["crop"]
    if min(left, top) < 0 or side <= 0 or max(left, top) + side > 1 + 1e-9:
        raise RecipeError(f"{style}: crop {row['crop']} leaves the drawing (left, top, side)")
    if not isinstance(row["count"], int) or row["count"] < 1:
        raise RecipeError(f"{style}: count must be a number from 1")
    check_options(style, groups)
    return DrawnSource(
        style=style,
        count=row["count"],
        crop=(left, top, side),
        groups=groups,
        rules=parse_rules(row.get("rules", []), groups),
        flip=bool(row.get("flip", False)),
    )


def _rename(groups: Sequence[Group], names: Mapping[str, Sequence[str]]) -> tuple[Group, ...]:
    """The groups with every option under the names this style has for it."""

    def choice(old: Choice) -> Choice:
        options = {n: v for k, v in old.options.items() for n in names.get(k, [k])}
        return replace(old, options=options)

    return tuple(replace(g, choices=tuple(map(choice, g.choices))) for g in groups)


def check_options(style: str, groups: Sequence[Group]) -> None:
    """Refuse what the style cannot draw; dicebear itself draws nothing for an unknown variant."""
    definition = style_definition(style)
    variants = {f"{n}Variant": set(c["variants"]) for n, c in definition["components"].items()}
    known = set(variants) | {f"{n}Probability" for n in definition["components"]}
    known |= {f"{n}Color" for n in definition["colors"]} | {"backgroundColor"}
    for group in groups:
        for choice in group.choices:
            for option, value in choice.options.items():
                where = f"{style}, {group.name!r}, {choice.tag!r}"
                if option not in known:
                    raise RecipeError(f"{where}: no option {option!r}; it has {sorted(known)}")
                asked = set(value if isinstance(value, list) else [value])
                if option in variants and (wrong := asked - variants[option]):
                    raise RecipeError(
                        f"{where}: {option} has no {sorted(wrong)[0]!r}; "
                        f"it has {sorted(variants[option])}"
                    )
