"""Reading a data recipe: which drawings to make, and how each is described.

A recipe is a TOML file. With one source, its keys stand at the top (`style`, `count`, `crop`,
`groups`, `rules`); with several, each `[[sources]]` table has them, and the top's `[groups]` are
shared by every source, so that a word means the same in all of them:

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

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models_core.data.dicebear import Choice, Group, Rule, SourceError, style_definition

WORDS_OF_A_CHOICE = ("weight", "tag", "also", "hides")
STYLE_GROUP = "style"


class RecipeError(ValueError):
    """The recipe cannot be followed; the message names the place."""


@dataclass(frozen=True)
class Source:
    """One drawn style: how many images of it, and what they are described by."""

    style: str
    count: int
    crop: tuple[float, float, float]
    groups: tuple[Group, ...]
    rules: tuple[Rule, ...]


@dataclass(frozen=True)
class Recipe:
    name: str
    seed: str
    image_size: int
    sources: tuple[Source, ...]
    digest: str

    @property
    def count(self) -> int:
        return sum(source.count for source in self.sources)

    def own_name(self, source: Source, name: str) -> str:
        """`name`, made the source's own where there are several: ids and seeds begin with it."""
        return name if len(self.sources) == 1 else f"{name}-{source.style}"

    @classmethod
    def read(cls, file: Path) -> Recipe:
        """Read and check a recipe; RecipeError or SourceError say what is wrong with it."""
        raw = file.read_bytes()
        try:
            table = tomllib.loads(raw.decode())
            if "sources" in table:
                shared = table.get("groups", {})
                sources = tuple(_parse_source(row, shared) for row in table["sources"])
            else:
                sources = (_parse_source(table, {}),)
            recipe = cls(
                name=table["name"],
                seed=table["seed"],
                image_size=table["image_size"],
                sources=sources,
                digest=hashlib.sha256(raw).hexdigest(),
            )
            recipe.check()
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"{file} is not TOML: {error}") from error
        except KeyError as error:
            raise RecipeError(f"{file} lacks the key {error}") from error
        except (RecipeError, SourceError) as error:
            raise RecipeError(f"{file}: {error}") from error
        return recipe

    def check(self) -> None:
        styles = [source.style for source in self.sources]
        if twice := [style for style in styles if styles.count(style) > 1]:
            raise RecipeError(f"{twice[0]} is a source twice; an image's id would be too")
        home: dict[str, str] = {}
        for name, tags in self.vocabulary().items():
            for tag in tags:
                if home.setdefault(tag, name) != name:
                    raise RecipeError(f"the tag {tag!r} is in two groups, {home[tag]!r}, {name!r}")

    def with_count(self, count: int) -> Recipe:
        """The same recipe with `count` images in all, spread over the sources as before.

        A smaller set is a part of the larger one, image by image.
        """
        total, done, begun = self.count, 0, 0
        sources = []
        for source in self.sources:
            done += source.count
            share = count * done // total - begun
            begun += share
            sources.append(replace(source, count=share))
        return replace(self, sources=tuple(sources))

    def redrawn(self, name: str, seed: str) -> Recipe:
        """Other drawings by the same rules: another name gives other ids, and so other splits."""
        mixed = hashlib.sha256(f"{self.digest} {name} {seed}".encode()).hexdigest()
        return replace(self, name=name, seed=seed, digest=mixed)

    def vocabulary(self) -> dict[str, list[str]]:
        """Every word by its group, in the order of the recipe."""
        words: dict[str, list[str]] = {}
        for source in self.sources:
            for group in source.groups:
                for choice in group.choices:
                    for name, tag in ((group.name, choice.tag), *choice.also.items()):
                        known = words.setdefault(name, [])
                        if tag and tag not in known:
                            known.append(tag)
        return {name: tags for name, tags in words.items() if tags}


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


def _parse_source(row: Mapping[str, Any], shared: Mapping[str, Any]) -> Source:
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
    return Source(
        style=style,
        count=row["count"],
        crop=(left, top, side),
        groups=groups,
        rules=parse_rules(row.get("rules", []), groups),
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
