"""What is compared: a TOML recipe, and the rows of the table."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models_core.data.dataset import Kind

REAL, STYLEGAN2 = "real", "stylegan2"
STABLE_DIFFUSION, STYLEDIFFUSER = "stable-diffusion-lora", "stylediffuser"
WHOLE = "tags + start + adapter + style tokens"  # StyleDiffuser as it is, nothing switched off


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: str
    steps: int | None = None
    start: bool = False  # from the prototype's latent, not from noise
    adapter: bool = False
    style: bool = False

    @property
    def name(self) -> str:
        """Also its folder's: `stylediffuser-10`, `stylediffuser-10-start-adapter`."""
        parts = [self.model, *([str(self.steps)] if self.steps else [])]
        ablation = self.model == STYLEDIFFUSER and self.conditioning != WHOLE
        return "-".join([*parts, *(self._conditionings if ablation else [])])

    @property
    def conditioning(self) -> str | None:
        """What supervises the pictures."""
        if self.model == REAL:
            return None
        return " + ".join(["tags", *self._conditionings]).replace("style", "style tokens")

    @property
    def _conditionings(self) -> list[str]:
        return [name for name in ("start", "adapter", "style") if getattr(self, name)]


def _stylediffuser(steps: int, *conditionings: str) -> Row:
    return Row(STYLEDIFFUSER, steps, **dict.fromkeys(conditionings, True))


ROWS = (
    Row(REAL),
    Row(STYLEGAN2),
    *(Row(STABLE_DIFFUSION, steps) for steps in (10, 25, 50)),
    *(_stylediffuser(steps, "start", "adapter", "style") for steps in (4, 10, 25)),
    _stylediffuser(10, "start"),
    _stylediffuser(10, "start", "adapter"),
    _stylediffuser(10, "start", "style"),
)


def chosen_rows(names: str | None) -> list[Row]:
    """The rows named in "stylegan2,stylediffuser" (a model's name is all of its rows), or all."""
    if names is None:
        return list(ROWS)
    asked = [name.strip() for name in names.split(",")]
    known = {row.name for row in ROWS} | {row.model for row in ROWS}
    if unknown := [name for name in asked if name not in known]:
        every = ", ".join(row.name for row in ROWS)
        raise ValueError(
            f"no row {unknown[0]!r}: name some of {every}, or a model for all its rows"
        )
    return [row for row in ROWS if row.name in asked or row.model in asked]


@dataclass(frozen=True)
class Comparison:
    """A recipe; see models_core/recipes/toon-compare.toml for what each field means."""

    release: Path
    real: Mapping[str, Any]
    tagged: Path
    tag_groups: tuple[str, ...]
    n: int
    quick: int
    first_seed: int
    stable_diffusion: Path | None = None
    guidance: float = 1.0
    extractor: str = "efficientnet-lite0"
    weights: Path | None = None
    batch: int = 16

    @classmethod
    def read(cls, file: Path) -> Comparison:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        fields = cls.__dataclass_fields__
        if unknown := table.keys() - fields.keys():
            raise ValueError(f"{file}: unknown {', '.join(sorted(unknown))}")
        needed = ("release", "real", "tagged", "tag_groups", "n", "quick", "first_seed")
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"{file}: {missing[0]} is missing")
        if table["real"].get("kind") not in ("whole", "crop") or "data" not in table["real"]:
            raise ValueError(f'{file}: [real] needs data = "FOLDER" and kind = "crop" or "whole"')
        for name in ("release", "tagged", "stable_diffusion", "weights"):
            if name in table:
                table[name] = Path(table[name])
        return cls(**{**table, "tag_groups": tuple(table["tag_groups"])}).with_n(table["n"])

    def with_n(self, n: int) -> Comparison:
        if n < 8:
            raise ValueError(f"n must be 8 or more, not {n}: there is nothing to measure on fewer")
        return replace(self, n=n)

    @property
    def kind(self) -> Kind:
        return self.real["kind"]

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.n)
