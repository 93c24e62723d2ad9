"""Latents with captions, from one data set or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from models_core.data.dataset import ImageFolder
from models_core.training.diffusion import cached_latents
from models_core.training.run import Run, batch_indices


class Source:
    """One data set's latents and captions, drawn with a weight."""

    def __init__(self, vae: AutoencoderKL, spec: dict[str, Any], run: Run) -> None:
        dataset = ImageFolder(Path(spec["data"]))
        kind = spec.get("kind", "crop")
        file = run.folder / f"latents-{Path(spec['data']).name}-{kind}.pt"
        self.latents = cached_latents(vae, dataset, kind, file, spec.get("limit"))
        self.tags = dataset.tags
        self.groups = dataset.vocabulary.tags
        self.prefix = spec.get("prefix", [])
        self.weight = float(spec.get("weight", 1))

    def caption(self, index: int, order: torch.Generator, drop: float) -> str:
        """The tags in random order, a share of them left out, so that any subset is a prompt."""
        tags = [*self.prefix, *self.tags[index]]
        kept = [t for t in tags if torch.rand(1, generator=order).item() >= drop]
        mixed = torch.randperm(len(kept), generator=order).tolist()
        return ", ".join(kept[i] for i in mixed)


class Sources:
    """A recipe's `[[sources]]`, drawn from by their weights."""

    def __init__(self, vae: AutoencoderKL, specs: Sequence[dict[str, Any]], run: Run) -> None:
        self.device = run.device
        self.members = [Source(vae, spec, run) for spec in specs]
        self.weights = torch.tensor([s.weight for s in self.members])

    @property
    def words(self) -> list[str]:
        """Every tag that a caption may hold."""
        return [tag for s in self.members for tag in (*s.prefix, *s.groups)]

    def batch(self, training: dict[str, Any], order: torch.Generator) -> tuple[Tensor, list[str]]:
        """Latents [N, C, h, w] and captions, a share of these empty (`caption_dropout`)."""
        n = training["batch"]
        which = torch.multinomial(self.weights, n, replacement=True, generator=order)
        z, captions = [], []
        for source in (self.members[i] for i in which.tolist()):
            index = int(batch_indices(len(source.latents), 1, order))
            z.append(source.latents[index])
            empty = torch.rand(1, generator=order).item() < training["caption_dropout"]
            drop = training["tag_dropout"]
            captions.append("" if empty else source.caption(index, order, drop))
        fast = torch.stack(z).to(self.device).contiguous(memory_format=torch.channels_last)
        return fast, captions

    def examples(self, count: int) -> list[str]:
        """Captions of the sources' first images, in turn."""
        captions = []
        for i in range(count):
            source = self.members[i % len(self.members)]
            captions.append(", ".join([*source.prefix, *source.tags[i % len(source.latents)]]))
        return captions
