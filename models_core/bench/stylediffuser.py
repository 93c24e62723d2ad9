"""StyleDiffuser: pictures a second of the shipped release, and what the pipeline adds to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from models_core.bench.cases import Case
from models_core.releases.loaded import open_pipeline

TITLE = "StyleDiffuser"
FOLDER = Path(__file__).parents[1] / "releases" / "demo" / "pipeline"
TAGS = [["pink hair", "smiling"], ["blue hair", "open mouth"]]
RANK = 32
# What is called in turn; the rest of the pipeline's time is its own.
PARTS = (
    ("prototype", "map"),
    ("prototype", "draw"),
    ("text_encoder", "forward"),
    ("adapter", "style_tokens"),
    ("adapter", "residuals"),
    ("vae", "encode"),
    ("unet", "forward"),
    ("vae", "decode"),
)


def cases() -> list[Case]:
    variants: dict[str, dict[str, Any]] = {
        "as shipped (channels_last, LoRA fused)": {},
        "contiguous": {"contiguous": True},
        "LoRA beside the weights": {"lora": True},
        "UNet compiled": {"compiled": True},
    }
    out = []
    for batch in (1, 8):
        sized = {name: {**options, "batch": batch} for name, options in variants.items()}
        name = f"Drawing 128×128, 10 steps, batch {batch}"
        out.append(Case(name, "pictures", prepare_drawing, sized))
    sums = {"whole pipeline": {}, "sum of its forward passes": {"parts_alone": True}}
    out.append(Case("Overhead of the pipeline, batch 1", "pictures", prepare_overhead, sums))
    return out


def prepare_drawing(
    batch: int,
    contiguous: bool = False,
    lora: bool = False,
    compiled: bool = False,
    folder: Path = FOLDER,
) -> Callable[[], float]:
    """Seconds a picture, in one variant."""
    pipeline = open_pipeline(folder, "cpu")
    if contiguous:
        for module in (pipeline.unet, pipeline.vae):
            module.to(memory_format=torch.contiguous_format)
    if lora:
        add_lora(pipeline.unet)
    if compiled:
        pipeline.unet.compile()

    def work() -> float:
        begun = time.perf_counter()
        draw(pipeline, batch)
        return (time.perf_counter() - begun) / batch

    return work


def prepare_overhead(parts_alone: bool = False, folder: Path = FOLDER) -> Callable[[], float]:
    """CPU seconds of this thread a picture, of everything or of the forward passes alone.

    A thread's own clock stands still while others have the processor, so a few per cent can be
    told on a busy machine; it holds for one thread.
    """
    torch.set_num_threads(1)
    pipeline = open_pipeline(folder, "cpu")

    def work() -> float:
        with clocked(pipeline) as spent:
            begun = time.thread_time()
            draw(pipeline, 1)
            whole = time.thread_time() - begun
        return spent[0] if parts_alone else whole

    return work


def draw(pipeline: Any, count: int) -> Any:
    tags = [TAGS[i % len(TAGS)] for i in range(count)]
    return pipeline(
        range(count), tags, prefix=["toon style"], steps=10, strength=0.5, batch_size=count
    )


@contextmanager
def clocked(pipeline: Any) -> Iterator[list[float]]:
    """Within, the CPU seconds spent in the parts' forward passes add up in the yielded list."""
    spent, inside = [0.0], [False]

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if inside[0]:
                return call(*args, **kwargs)
            inside[0], begun = True, time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                inside[0] = False
                spent[0] += time.thread_time() - begun

        return run

    for component, name in PARTS:
        module = getattr(pipeline, component)
        setattr(module, name, timed(getattr(module, name)))
    try:
        yield spent
    finally:
        for component, name in PARTS:
            delattr(getattr(pipeline, component), name)


def add_lora(unet: Any) -> None:
    """A LoRA of the demo's targets, left beside the weights."""
    from peft import LoraConfig

    targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "proj_in", "proj_out"]
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=targets))
