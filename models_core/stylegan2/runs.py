"""From a training run's folder to a checkpoint folder."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models_core.stylegan2.checkpoint import CheckpointError, save
from models_core.stylegan2.recipe import Recipe


def generator_config(network: Mapping[str, Any], c_dim: int) -> dict[str, Any]:
    """`Generator`'s keyword arguments from a training recipe's `[network]` table."""
    return {
        "z_dim": network["z_dim"],
        "c_dim": c_dim,
        "w_dim": network["w_dim"],
        "img_resolution": network["img_resolution"],
        "img_channels": 3,
        "mapping_kwargs": {
            "num_layers": network["mapping_layers"],
            "lr_multiplier": network.get("mapping_lr_multiplier", 0.01),
        },
        "synthesis_kwargs": {
            "channel_base": network["channel_base"],
            "channel_max": network["channel_max"],
            "use_noise": network["use_noise"],
            **({"conv_clamp": clamp} if (clamp := network.get("conv_clamp")) else {}),
        },
    }


def discriminator_config(network: Mapping[str, Any], c_dim: int) -> dict[str, Any]:
    """`Discriminator`'s keyword arguments from the same table."""
    return {
        "c_dim": c_dim,
        "img_resolution": network["img_resolution"],
        "channel_base": network["channel_base"],
        "channel_max": network["channel_max"],
        "conv_clamp": network.get("conv_clamp"),
        "mbstd_group_size": network.get("mbstd_group", 4),
    }


def newest_snapshot(run: Path) -> Path:
    """The run's last `snapshots/G_ema-*.pt`."""
    files = sorted((run / "snapshots").glob("G_ema-*.pt"))
    if not files:
        raise CheckpointError(f"{run} holds no snapshots/G_ema-*.pt yet; let it train on")
    return files[-1]


def convert_run(
    run: Path,
    out: Path,
    *,
    snapshot: Path | None = None,
    rules: Path | None = None,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write the averaged generator of a run (its newest snapshot) as a checkpoint folder.

    Tags come from the data set that the run's recipe names, rules from a data recipe.
    Returns the snapshot that was taken.
    """
    recipe_file = run / "recipe.toml"
    if not recipe_file.exists():
        raise CheckpointError(f"{run} is not a training run: it holds no recipe.toml")
    snapshot = snapshot or newest_snapshot(run)
    recipe = Recipe.read(recipe_file)
    state: dict[str, Tensor] = torch.load(snapshot, map_location="cpu", weights_only=True)
    tags: dict[str, dict[str, float]] = {}
    if recipe.network.conditional:
        tags = json.loads((Path(recipe.data) / "dataset.json").read_text())["tags"]
    config = generator_config(recipe.network.model_dump(), sum(map(len, tags.values())))
    found = tomllib.loads(rules.read_text(encoding="utf-8")).get("rules", []) if rules else []
    save(config, state, out, tags=tags, rules=found, dtype=dtype)
    return snapshot
