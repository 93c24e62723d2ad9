"""A release in memory: what the worker generates, scores and enlarges with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_core.releases.assembly import ADAPTER, assemble, lora_parts
from models_core.releases.assembly import open_pipeline as open_pipeline
from models_core.releases.bundle import Bundle, ReleaseError, verify_release
from models_core.releases.sampling import avatar_size, sampling_parameters
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


def open_release(
    folder: Path, device: str | None = None, leave_out: Collection[str] = ()
) -> LoadedRelease:
    """Verify every digest of the bundle and load it; `device` defaults to CUDA where there is.

    `leave_out` names parts to do without: `adapter`, or a LoRA's folder such as `loras/1`.
    """
    import torch

    bundle = verify_release(Path(folder))
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return LoadedRelease(bundle, chosen, leave_out)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, ReleaseError):
            raise
        raise ReleaseError(f"{folder} cannot be loaded: {error}") from error


class LoadedRelease:
    """An opened release; made by `open_release`. Images in and out are PIL, RGB."""

    def __init__(self, bundle: Bundle, device: str, leave_out: Collection[str] = ()) -> None:
        from models_core.critic.critic import Critic
        from models_core.stylediffuser import pipeline
        from models_core.upscale.upscaler import Upscaler

        self._stopped = pipeline.Aborted
        self.digest, self.manifest, self.device = bundle.digest, bundle.manifest, device
        self._left_out = tuple(leave_out)
        params = bundle.manifest["params"]
        self.traits = Traits(bundle.manifest["tags"], params.get("rules", ()))
        sampling_parameters(params)
        self.loras = lora_parts(params)
        self.size: int | None = avatar_size(params)
        self.pipeline = assemble(bundle, device, leave_out)
        self._critic: Critic = Critic.open(bundle.component("critic"), device)
        # A base that draws as large as avatars are needs none.
        self._upscaler: Upscaler | None = None
        if (bundle.folder / "upscaler").is_dir():
            self._upscaler = Upscaler.open(bundle.component("upscaler"), device)

    @property
    def parts(self) -> list[str]:
        """What it can do without, to see what each is worth: `adapter`, and its LoRAs' folders.

        One with weight 0 is no part of it.
        """
        adapter = [ADAPTER] if self.pipeline.adapter is not None else []
        found = [*adapter, *(lora.folder for lora in self.loras if lora.weight)]
        return [part for part in found if part not in self._left_out]

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
        """Each image as the release delivers it: four times larger where it has an upscaler
        (512x512 from a 128x128 draft), and no larger than `params.size`."""
        large = self._upscaler(images) if self._upscaler else list(images)
        return [_at_most(image, self.size) for image in large]


def _at_most(image: Image, size: int | None) -> Image:
    from PIL.Image import Resampling

    if size is None or max(image.size) <= size:
        return image
    return image.resize((size, size), Resampling.LANCZOS)
