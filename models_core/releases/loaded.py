"""A release in memory: what the worker generates, scores and enlarges with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_core.releases.bundle import Bundle, ReleaseError, verify_release
from models_core.releases.sampling import sampling_parameters
from models_core.releases.traits import Traits

if TYPE_CHECKING:  # torch is imported when a release is opened, not when this module is
    from PIL.Image import Image

    from models_core.critic.critic import Critic
    from models_core.safety.classifier import SafetyClassifier
    from models_core.upscale.upscaler import Upscaler


class Aborted(Exception):
    """The caller's `abort` asked to stop."""


@dataclass(frozen=True)
class Draft:
    """A generated image before curation and enlarging."""

    seed: int
    image: Image
    tags: tuple[str, ...]


def open_release(folder: Path, device: str | None = None) -> LoadedRelease:
    """Verify every digest of the bundle and load it; `device` defaults to CUDA where there is."""
    import torch

    bundle = verify_release(Path(folder))
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return LoadedRelease(bundle, chosen)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, ReleaseError):
            raise
        raise ReleaseError(f"{folder} cannot be loaded: {error}") from error


class LoadedRelease:
    """An opened release; made by `open_release`. Images in and out are PIL, RGB."""

    def __init__(self, bundle: Bundle, device: str) -> None:
        from models_core.critic.critic import Critic
        from models_core.stylediffuser import pipeline
        from models_core.upscale.upscaler import Upscaler

        self._stopped = pipeline.Aborted
        self.digest, self.manifest, self.device = bundle.digest, bundle.manifest, device
        params = bundle.manifest["params"]
        self.traits = Traits(bundle.manifest["tags"], params.get("rules", ()))
        sampling_parameters(params)
        self.pipeline = open_pipeline(bundle.component("pipeline"), device)
        self._critic: Critic = Critic.open(bundle.component("critic"), device)
        self._upscaler: Upscaler = Upscaler.open(bundle.component("upscaler"), device)

    @cached_property
    def _safety(self) -> SafetyClassifier:
        from models_core.safety.classifier import SafetyClassifier

        return SafetyClassifier()

    def generate(
        self,
        seeds: Sequence[int],
        *,
        tags: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
        abort: Callable[[], bool] | None = None,
        preview: Callable[[int, list[Image]], None] | None = None,
    ) -> list[Draft]:
        """One draft a seed, in the seeds' order.

        `tags` are traits every image must have; the rest is drawn by the seed. `progress` gets
        (denoising steps done, of) over all images; `abort` is asked after each of them and
        stops by `Aborted`; `preview` now and then gets the number of the first image in work and
        small pictures of what those in work will be. Unknown tags and parameters are a
        `ReleaseError`.
        """
        asked = sampling_parameters(self.manifest["params"], params)
        drawn = [self.traits.draw(seed, tags) for seed in seeds]

        def watch(done: int, of: int) -> bool:
            if progress is not None:
                progress(done, of)
            return abort is not None and abort()

        try:
            images = self.pipeline(
                list(seeds),
                [list(names) for names in drawn],
                prefix=self.manifest["params"].get("prefix", ()),
                callback=watch,
                preview=preview,
                **asked,
            ).images
        except self._stopped as stop:
            raise Aborted(str(stop)) from stop
        return [Draft(*made) for made in zip(seeds, images, drawn, strict=True)]

    def score(self, images: Sequence[Image]) -> list[float]:
        """The critic's score, 0 to 1; benign is 0.7 or more."""
        return self._critic(images)

    def safety(self, images: Sequence[Image]) -> list[float]:
        """The probability that an image is unsafe for work."""
        return self._safety(images)

    def upscale(self, images: Sequence[Image]) -> list[Image]:
        """Each image four times larger: 512x512 from a 128x128 draft."""
        return self._upscaler(images)


def open_pipeline(folder: Path, device: str) -> Any:
    """The StyleDiffuserPipeline in a bundle's `pipeline` folder, in the device's precision."""
    import torch
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from models_core.stylediffuser.pipeline import StyleDiffuserPipeline

    diffusers_logging.disable_progress_bar()  # a worker's log is no terminal
    transformers_logging.disable_progress_bar()
    # The prototype is small and its styles are sensitive to rounding: float32 everywhere.
    half = torch.float32 if device == "cpu" else torch.float16
    pipeline = StyleDiffuserPipeline.from_pretrained(
        folder, dtype={"default": half, "prototype": torch.float32}, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)
