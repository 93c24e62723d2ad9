"""A generator opened for work in its latent space W: seeds and tags → w → picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models_core.data.dataset import TagVocabulary, to_pixels
from models_core.releases.bundle import MANIFEST
from models_core.releases.traits import Traits
from models_core.stylegan2 import Generator, checkpoint
from models_core.stylegan2.checkpoint import CheckpointError, Description
from models_core.stylegan2.sample import latents

PROTOTYPE = "Prototype"
PROTOTYPE_WEIGHTS = "diffusion_pytorch_model.safetensors"
BATCH = 16


class LatentSpace:
    """A frozen generator with what its label means.

    Shapes: z [N, z_dim], c [N, c_dim], ws [N, num_ws, w_dim]; pictures uint8 [N, R, R, 3].
    """

    def __init__(self, generator: Generator, about: Description, tags: Sequence[str] = ()) -> None:
        """`tags`: the tag of each label position, where `about` does not know their groups."""
        self.generator = generator.eval().requires_grad_(False)
        self.about = about
        self.tags = [tag for group in about.tags.values() for tag in group] or list(tags)
        self.resolution, self.num_ws = generator.img_resolution, generator.num_ws

    @classmethod
    def open(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        tags_from: Path | None = None,
    ) -> LatentSpace:
        """A checkpoint folder, a run's `export`, or the `pipeline/prototype` of a release.

        Args:
            tags_from: a JSON file whose `tags` are the groups and shares of the label's tags (a
                data set's dataset.json or a release.json). A checkpoint folder knows its own, and
                a release's prototype finds its release.json.

        Raises:
            CheckpointError: the folder or the file does not hold what it should.
        """
        folder = Path(folder)
        config = _config(folder)
        if config.get("_class_name") == PROTOTYPE:
            space = cls._open_prototype(folder, config, tags_from)
        else:
            about = checkpoint.describe(folder)
            if tags_from is not None:
                own = [tag for group in about.tags.values() for tag in group]
                about = _with_groups(about, tags_from, own)
            space = cls(checkpoint.load(folder), about)
        space.generator.to(device)
        return space

    @classmethod
    def _open_prototype(
        cls, folder: Path, config: dict[str, Any], tags_from: Path | None
    ) -> LatentSpace:
        tags = config.get("tags", [])
        about = Description(config.get("generator", {}))
        release = folder.resolve().parent.parent / MANIFEST
        if tags_from is None and release.is_file():
            tags_from = release
        if tags_from is not None:
            about = _with_groups(about, tags_from, tags)
        try:
            state = load_file(folder / PROTOTYPE_WEIGHTS)
        except (FileNotFoundError, SafetensorError) as error:
            raise CheckpointError(
                f"{folder / PROTOTYPE_WEIGHTS}: {error}; copy it again"
            ) from error
        weights = {name.removeprefix("G."): value for name, value in state.items()}
        return cls(checkpoint.build(about.generator, weights), about, tags)

    @property
    def device(self) -> torch.device:
        return self.generator.mapping.w_avg.device

    @property
    def w_avg(self) -> Tensor:
        return self.generator.mapping.w_avg

    def traits(self, seeds: Sequence[int], tags: Sequence[str] = ()) -> list[tuple[str, ...]]:
        """The tags of each seed's picture: `tags`, and others by their share of the training."""
        if self.generator.c_dim and not self.about.tags:
            raise CheckpointError(
                "this generator's folder does not say how often its tags occur; name its data "
                "set's dataset.json or a release.json with --tags-from"
            )
        traits = Traits(self.about.tags, self.about.rules)
        return [traits.draw(seed, tags) for seed in seeds]

    def labels(self, traits: Sequence[Sequence[str]]) -> Tensor:
        """Tags of N pictures → multi-hot c [N, c_dim]."""
        vocabulary = TagVocabulary({"tags": dict.fromkeys(self.tags, 0.0)})
        return vocabulary.labels([list(row) for row in traits]).to(self.device)

    @torch.no_grad()
    def from_seeds(
        self,
        seeds: Sequence[int],
        tags: Sequence[str] = (),
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> Tensor:
        """ws [N, num_ws, w_dim], each from its own seed; ψ = `truncation` on `cutoff` layers."""
        z = latents(seeds, self.generator.z_dim).to(self.device)
        c = self.labels(self.traits(seeds, tags))
        return self.generator.mapping(z, c, truncation_psi=truncation, truncation_cutoff=cutoff)

    @torch.no_grad()
    def draw(self, ws: Tensor, batch: int = BATCH) -> np.ndarray:
        """ws [N, num_ws, w_dim] → uint8 [N, R, R, 3]."""
        parts = [self.synthesize(part) for part in ws.to(self.device).split(batch)]
        return np.concatenate([to_pixels(part) for part in parts])

    def synthesize(self, ws: Tensor) -> Tensor:
        """G(w) [N, 3, R, R] in about [-1, 1], with the noise inputs' fixed maps."""
        return self.generator.synthesis(ws, noise_mode="const")

    def fingerprint(self) -> str:
        """Names the weights, whatever precision they are stored in; 16 hexadecimal digits."""
        sha = hashlib.sha256()
        for name, value in sorted(self.generator.state_dict().items()):
            sha.update(name.encode())
            sha.update(value.to("cpu", torch.float16).contiguous().numpy().tobytes())
        return sha.hexdigest()[:16]


def _config(folder: Path) -> dict[str, Any]:
    """`config.json` unchecked; empty where `checkpoint.describe` will say what is wrong."""
    try:
        raw = json.loads((folder / checkpoint.CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _with_groups(about: Description, file: Path, tags: Sequence[str]) -> Description:
    """`about` with the groups of `file`, which must hold just the generator's tags, in order.

    Where the generator does not know its `tags`, there must be as many as its label has positions.
    """
    try:
        groups = json.loads(file.read_text(encoding="utf-8"))["tags"]
        found = [tag for group in groups.values() for tag in group]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} holds no groups of tags: {error!r}") from error
    count = about.generator.get("c_dim", 0)
    if len(found) != count or (tags and found != list(tags)):
        raise CheckpointError(
            f"the tags of {file} are not the generator's: {len(found)} against {count}; "
            "name the file of the data set it was trained on"
        )
    return replace(about, tags=groups)
