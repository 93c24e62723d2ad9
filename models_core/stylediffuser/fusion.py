"""Pictures from pictures: two fused into one with traits of both, and variations of one.

A subject is a seed, a w, or a picture whose w an encoder finds. Fusion goes between two subjects
in both places where StyleDiffuser knows them: linearly in w, which the adapter and the style
tokens read, and spherically between their noised latents, where the enhancer begins (as two
noised pictures are interpolated and denoised into one by Ho 2020, §4.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from models_core.data.dataset import to_tensor
from models_core.stylediffuser.pipeline import (
    Drawn,
    Preview,
    Sampling,
    StyleDiffuserPipeline,
    Watch,
    captions,
    seeded_noise,
    to_images,
)


class Encoder(Protocol):
    """Finds w's for pictures (`models_core.latent.encoder.Encoder` is one)."""

    def encode(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [−1, 1] → ws [N, num_ws, w_dim]."""


@dataclass(frozen=True)
class Subject:
    """What to fuse or vary; exactly one of `seed`, `ws` and `picture`, or `picture` with its `ws`.

    Args:
        seed: the avatar that the pipeline draws from this seed with these tags.
        ws: [num_ws, w_dim].
        picture: [3, H, W] in [−1, 1], framed as G's pictures are.
        tags: its traits.
    """

    seed: int | None = None
    ws: Tensor | None = None
    picture: Tensor | None = None
    tags: Sequence[str] = ()

    def __post_init__(self) -> None:
        given = self.ws is not None or self.picture is not None
        if (self.seed is None) != given:
            raise ValueError("a subject is either a seed, or a w or picture")


@dataclass(frozen=True)
class Known:
    """A subject as both halves know it: its w [1, num_ws, w_dim] and its picture [1, 3, H, W]."""

    ws: Tensor
    picture: Tensor


class Fusion:
    """Fuses and varies subjects with one pipeline.

    Args:
        encoder: needed for subjects that are pictures without a w.
        sampling: how the enhancer is asked. Its strength says how much of the start is left: low
            keeps to the subjects, high leaves the enhancer free.
        truncation: ψ of subjects that are seeds.
        prefix: tags put before every caption.
    """

    def __init__(
        self,
        pipeline: StyleDiffuserPipeline,
        encoder: Encoder | None = None,
        sampling: Sampling | None = None,
        *,
        truncation: float = 0.8,
        prefix: Sequence[str] = (),
    ) -> None:
        self.pipeline, self.encoder = pipeline, encoder
        self.sampling = sampling or Sampling()
        self.truncation, self.prefix = truncation, tuple(prefix)

    @torch.no_grad()
    def know(self, subject: Subject, *, redrawn: bool = False) -> Known:
        """The subject's w and picture: what was given, else the encoder's w, else G(w).

        Args:
            redrawn: take the avatar that the whole pipeline draws from a seed, not its prototype.
        """
        pipe, device = self.pipeline, self.pipeline.unet.device
        if subject.seed is not None:
            z, _, _ = seeded_noise([subject.seed], pipe.prototype.G.z_dim, pipe.latent_shape)
            ws = pipe.prototype.map(z.to(device), [list(subject.tags)], self.truncation)
        elif subject.ws is not None:
            ws = self._checked(subject.ws[None]).to(device)
        else:
            ws = self._encoded(subject.picture)
        if subject.picture is not None:
            return Known(ws, subject.picture[None].to(device))
        if redrawn and subject.seed is not None:
            return Known(ws, self._avatar(ws, subject))
        picture, _ = pipe.prototype.draw(ws)
        return Known(ws, picture.clamp(-1, 1))

    @torch.no_grad()
    def fuse(
        self,
        first: Subject,
        second: Subject,
        shares: Sequence[float] = (0.5,),
        *,
        seed: int = 0,
        callback: Callable[[int, int], bool | None] | None = None,
        preview: Preview | None = None,
    ) -> Drawn:
        """One picture a share, 0 being the first subject and 1 the second.

        `seed` decides the noise, the same for both subjects and all shares, so that only the
        share changes. At strength 1 nothing is left of the subjects' pictures and only w joins
        them. The caption is of the nearer subject's tags, and of the common ones half way.

        Raises:
            ValueError: a share is outside 0 to 1, or a picture comes without an encoder.
        """
        if any(not 0 <= share <= 1 for share in shares):
            raise ValueError(f"shares are from 0 to 1, not {', '.join(map(str, shares))}")
        one, two = self.know(first, redrawn=True), self.know(second, redrawn=True)
        watch = self._watch(len(shares), callback, preview)
        drawn = Drawn(images=[], prototypes=[])
        for share in shares:
            ws = torch.lerp(one.ws, two.ws, share)
            _, noise, dice = seeded_noise([seed], 1, self.pipeline.latent_shape)
            start = self._between(one.picture, two.picture, noise, share)
            tags = fused_tags(first.tags, second.tags, share)
            self._draw(drawn, ws, tags, start, watch, dice)
        return drawn

    @torch.no_grad()
    def vary(
        self,
        subject: Subject,
        seeds: Sequence[int],
        *,
        callback: Callable[[int, int], bool | None] | None = None,
        preview: Preview | None = None,
    ) -> Drawn:
        """One variation a seed: the subject's picture noised to the sampling's strength by that
        seed and denoised under the subject's own w and tags.

        Raises:
            ValueError: the subject is a picture and there is no encoder.
        """
        known = self.know(subject, redrawn=True)
        watch = self._watch(len(seeds), callback, preview)
        drawn = Drawn(images=[], prototypes=[])
        for seed in seeds:
            _, noise, dice = seeded_noise([seed], 1, self.pipeline.latent_shape)
            start = self.pipeline.start_from(known.picture, noise, self.sampling.strength)
            self._draw(drawn, known.ws, list(subject.tags), start, watch, dice)
        return drawn

    def _draw(
        self,
        drawn: Drawn,
        ws: Tensor,
        tags: Sequence[str],
        start: Any,
        watch: Watch,
        dice: list[torch.Generator],
    ) -> None:
        """Redraw one and add it to `drawn`."""
        prototype, features = self.pipeline.prototype.draw(ws)
        texts = captions([[*self.prefix, *tags]])
        picture = self.pipeline.redraw(ws, features, texts, start, self.sampling, watch, dice)
        drawn.images.extend(to_images(picture))
        drawn.prototypes.extend(to_images(prototype))

    def _between(self, one: Tensor, two: Tensor, noise: Tensor, share: float) -> Any:
        """Begin spherically between the two noised pictures.

        The noise is one for both, so the angle between them is of their clean parts' making; with
        two noises a half-way latent would have the length, but not the grain, of a noised one.
        """
        strength = self.sampling.strength
        first = self.pipeline.start_from(one, noise, strength)
        second = self.pipeline.start_from(two, noise, strength)
        return lambda scheduler, t: slerp(first(scheduler, t), second(scheduler, t), share)

    def _avatar(self, ws: Tensor, subject: Subject) -> Tensor:
        """The picture that the whole pipeline draws for a seed."""
        seed = subject.seed or 0
        pipe = self.pipeline
        prototype, features = pipe.prototype.draw(ws)
        _, noise, dice = seeded_noise([seed], pipe.prototype.G.z_dim, pipe.latent_shape)
        texts = captions([[*self.prefix, *subject.tags]])
        start = pipe.start_from(prototype, noise, self.sampling.strength)
        return pipe.redraw(ws, features, texts, start, self.sampling, Watch(), dice)

    def _encoded(self, picture: Tensor | None) -> Tensor:
        if self.encoder is None or picture is None:
            raise ValueError("a picture needs an encoder to find its w; give one, or give its w")
        ws = self.encoder.encode(picture[None])
        return self._checked(ws).to(self.pipeline.unet.device)

    def _checked(self, ws: Tensor) -> Tensor:
        expected = (1, self.pipeline.prototype.G.num_ws, self.pipeline.prototype.G.w_dim)
        if tuple(ws.shape) != expected or not ws.isfinite().all():
            raise ValueError(f"a w of this generator is {list(expected[1:])}, finite; not this one")
        return ws.float()

    def _watch(self, pictures: int, callback: Any, preview: Preview | None) -> Watch:
        return Watch(callback, preview, total=pictures * self.pipeline.evaluations(self.sampling))


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Along the great circle from a to b (Shoemake 1985), lengths interpolated; [N, …] → [N, …].

    Noised latents are nearly Gaussian, so they lie about on a sphere, which a straight line
    leaves: half way it would be too short, and the denoised picture grey.
    """
    if share in (0, 1):
        return b if share else a
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    long_a, long_b = flat_a.norm(dim=1, keepdim=True), flat_b.norm(dim=1, keepdim=True)
    cosine = (flat_a / long_a * (flat_b / long_b)).sum(dim=1, keepdim=True)
    angle = cosine.clamp(-1, 1).acos()
    sine = angle.sin().clamp_min(1e-6)
    along = ((1 - share) * angle).sin() / sine * (flat_a / long_a)
    along = along + (share * angle).sin() / sine * (flat_b / long_b)
    straight = torch.lerp(flat_a / long_a, flat_b / long_b, share)
    unit = torch.where(angle < 1e-3, straight, along)
    return (unit * torch.lerp(long_a, long_b, share)).view_as(a)


def fused_tags(first: Sequence[str], second: Sequence[str], share: float) -> list[str]:
    """The nearer subject's tags; half way those that both have."""
    if share == 0.5:
        return [tag for tag in first if tag in second]
    return list(first if share < 0.5 else second)


def to_picture(image: Image.Image) -> Tensor:
    """An RGB picture → [3, H, W] in [−1, 1]."""
    return to_tensor(np.asarray(image.convert("RGB"))[None])[0]
