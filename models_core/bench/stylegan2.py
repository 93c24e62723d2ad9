"""StyleGAN2: samples a second, and training images a second."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from models_core.bench.cases import Case
from models_core.stylegan2 import Generator
from models_core.stylegan2.recipe import Recipe
from models_core.stylegan2.runs import generator_config

TITLE = "StyleGAN2"
# The demo's network, and one four times as large a side with as many maps at its smallest.
NETWORKS: dict[int, dict[str, Any]] = {
    64: {"channel_base": 1536, "channel_max": 128, "mapping_layers": 2},
    256: {"channel_base": 2048, "channel_max": 128, "mapping_layers": 8},
}
TRAINING_BATCH = {64: 16, 256: 4}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
SHORTEST = 0.5  # seconds that one measurement of sampling takes at least


def cases() -> list[Case]:
    sampling = {
        f"{layout}{', compiled' if compiled else ''}": {"layout": layout, "compiled": compiled}
        for compiled in (False, True)
        for layout in LAYOUTS
    }
    training: dict[str, dict[str, Any]] = {
        "contiguous": {"layout": "contiguous"},
        "channels_last": {},
        "channels_last, compiled": {"compiled": True},
        "channels_last, bf16": {"precision": "bf16"},
        "channels_last, ADA with p = 0.5": {"p": 0.5},
    }
    out = []
    for size in NETWORKS:
        name = f"{size}×{size} ({_maps(size)} maps)"
        for batch in (1, 16):
            variants = {n: {**v, "size": size, "batch": batch} for n, v in sampling.items()}
            out.append(
                Case(f"Sampling {name}, batch {batch}", "samples", prepare_sampling, variants)
            )
        variants = {n: {**v, "size": size} for n, v in training.items()}
        batch = TRAINING_BATCH[size]
        out.append(Case(f"Training {name}, batch {batch}", "images", prepare_training, variants))
    return out


def _maps(size: int) -> str:
    net = NETWORKS[size]
    return f"{net['channel_max']} to {net['channel_base'] // size}"


def network(size: int) -> dict[str, Any]:
    """The recipe's `[network]` of this size."""
    return {"img_resolution": size, "z_dim": 128, "w_dim": 128, **NETWORKS[size]}


def prepare_sampling(size: int, batch: int, layout: str, compiled: bool) -> Callable[[], float]:
    net = Recipe.check(_recipe(size, {})).network.model_dump()
    G: Any = Generator(**generator_config(net, 0)).eval().requires_grad_(False)
    G = G.to(memory_format=LAYOUTS[layout])
    synthesis = torch.compile(G.synthesis) if compiled else G.synthesis

    @torch.inference_mode()
    def work() -> float:
        begun, drawn = time.perf_counter(), 0
        while time.perf_counter() - begun < SHORTEST:
            ws = G.mapping(torch.randn(batch, G.z_dim), truncation_psi=0.7)
            synthesis(ws, noise_mode="const")
            drawn += batch
        return (time.perf_counter() - begun) / drawn

    return work


def prepare_training(
    size: int,
    layout: str = "channels_last",
    p: float = 0.0,
    compiled: bool = False,
    **options: Any,
) -> Callable[[], float]:
    """Steps of the real training on noise; R1 is counted by its share of one step in 16."""
    recipe = _recipe(size, options)
    if p:
        recipe["augmentation"] = {"mode": "fixed", "p": p}
    job = _job(recipe)
    for net in (job.G, job.D):
        net.to(memory_format=LAYOUTS[layout])
    if compiled:
        job.synthesis, job.judge = torch.compile(job.synthesis), torch.compile(job.judge)
    interval, n = job.cfg["r1_interval"], job.n

    def seconds_of(step: int) -> float:
        job.step = step
        begun = time.perf_counter()
        job.take_step()
        return time.perf_counter() - begun

    def work() -> float:
        with_penalty, without = seconds_of(interval), seconds_of(interval + 1)
        return (with_penalty + (interval - 1) * without) / (interval * n)

    return work


def _recipe(size: int, options: dict[str, Any]) -> dict[str, Any]:
    training = {"batch": TRAINING_BATCH[size], "kimg": 1, "r1_gamma": 2.0, **options}
    return {"data": "", "network": network(size), "training": training}


def _job(recipe: dict[str, Any]) -> Any:
    """A `StyleGAN2Training` whose data is 64 pictures of noise."""
    from models_core.training.run import Run
    from models_core.training.stylegan2 import StyleGAN2Training

    size = recipe["network"]["img_resolution"]
    pixels = np.random.default_rng(0).integers(0, 256, (64, size, size, 3), np.uint8)

    class Noise(SimpleNamespace):
        def __len__(self) -> int:
            return len(pixels)

    data: Any = Noise(pixels=lambda kind, size: pixels, rows=[{}] * len(pixels))
    data.vocabulary = SimpleNamespace(tags=[])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recipe.toml"
        file.write_text("", encoding="utf-8")
        run = Run(Path(folder) / "run", file)
        run.recipe = recipe
        return StyleGAN2Training(run, data, None)
