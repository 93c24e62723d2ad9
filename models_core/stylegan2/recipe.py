"""A training recipe of StyleGAN2, checked. What each key means: docs/stylegan2.md."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models_core.stylegan2.ada import CLASSES, DEFAULT_CLASSES


class RecipeError(ValueError):
    """The recipe cannot be followed; the message names the keys."""


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Network(Table):
    img_resolution: int = Field(ge=4)
    z_dim: int = Field(default=512, ge=1)
    w_dim: int = Field(default=512, ge=1)
    mapping_layers: int = Field(default=8, ge=1)
    mapping_lr_multiplier: float = Field(default=0.01, gt=0)
    channel_base: int = Field(default=32768, ge=1)
    channel_max: int = Field(default=512, ge=1)
    use_noise: bool = True
    conditional: bool = False
    conv_clamp: float | None = Field(default=None, gt=0)
    mbstd_group: int = Field(default=4, ge=1)


class Training(Table):
    seed: int = 0
    batch: int = Field(ge=1)
    kimg: float = Field(gt=0)
    lr: float = Field(default=2.5e-3, gt=0)
    d_lr: float | None = Field(default=None, gt=0)
    beta1: float = Field(default=0.0, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, lt=1)
    r1_gamma: float | None = Field(default=None, ge=0)
    r1_interval: int = Field(default=16, ge=1)
    pl_interval: int = Field(default=0, ge=0)
    pl_weight: float = Field(default=2.0, ge=0)
    mixing: float = Field(default=0.9, ge=0, le=1)
    mirror: bool = False
    warmup_kimg: float = Field(default=0, ge=0)
    likeness_weight: float = Field(default=0, ge=0)
    ema_kimg: float = Field(default=10, ge=0)
    ema_rampup: float = Field(default=0.05, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    log_every: int = Field(default=50, ge=1)
    save_every: int = Field(default=250, ge=1)
    sample_every: int = Field(default=250, ge=1)


class AugmentationTable(Table):
    mode: Literal["off", "fixed", "ada"] = "off"
    p: float = Field(default=0.0, ge=0, le=1)
    classes: tuple[str, ...] = DEFAULT_CLASSES
    heuristic: Literal["r_t", "r_v"] = "r_t"
    target: float = Field(default=0.6, gt=0, lt=1)
    interval: int = Field(default=4, ge=1)
    kimg: float = Field(default=500, gt=0)

    @model_validator(mode="after")
    def _known(self) -> AugmentationTable:
        if unknown := [name for name in self.classes if name not in CLASSES]:
            raise ValueError(f"no class {unknown[0]!r}; there are {', '.join(CLASSES)}")
        if self.mode == "fixed" and self.p == 0:
            raise ValueError('mode "fixed" needs a p above 0')
        return self


class MetricsTable(Table):
    every: int = Field(default=0, ge=0)
    count: int = Field(default=2000, ge=2)
    extractor: Literal["efficientnet-lite0", "inception-v3"] = "efficientnet-lite0"
    weights: str | None = None


class Recipe(Table):
    data: str
    init: str | None = None
    network: Network
    training: Training
    augmentation: AugmentationTable = AugmentationTable()
    metrics: MetricsTable = MetricsTable()

    @model_validator(mode="after")
    def _fitting(self) -> Recipe:
        batch, group = self.training.batch, self.network.mbstd_group
        if batch % min(batch, group):
            raise ValueError(
                f"training.batch of {batch} (a process) is not a multiple of network.mbstd_group, "
                f"{group}: its deviations are taken in groups of that many images"
            )
        return self

    @property
    def r1_gamma(self) -> float:
        """γ: the recipe's, or 0.0002 · pixels / batch (Karras 2020b, App. C)."""
        if self.training.r1_gamma is not None:
            return self.training.r1_gamma
        return 0.0002 * self.network.img_resolution**2 / self.training.batch

    @classmethod
    def check(cls, table: Mapping[str, Any], name: str = "the recipe") -> Recipe:
        """RecipeError says what is wrong with each key."""
        try:
            return cls.model_validate(table)
        except ValidationError as error:
            faults = "; ".join(_fault(fault) for fault in error.errors())
            raise RecipeError(f"{name}: {faults} (docs/stylegan2.md explains the keys)") from error

    @classmethod
    def read(cls, file: Path) -> Recipe:
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"{file} is not TOML: {error}") from error
        return cls.check(table, str(file))


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{place} is not a key"
    if fault["type"] == "missing":
        return f"{place} is missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
