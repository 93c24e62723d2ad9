"""The StyleDiffuser pipeline: prototype → supervised enhancer → picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    UNet2DConditionModel,
)
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from models_core.data.dataset import to_pixels
from models_core.enhancer.components import encode_text
from models_core.enhancer.weights import lay_out
from models_core.stylediffuser.adapter import StyleAdapter, set_style_scale
from models_core.stylediffuser.prototype import Prototype
from models_core.stylediffuser.schedulers import make_scheduler, plan

Preview = Callable[[int, list[Image.Image]], None]
Start = Callable[[Any, Tensor], Tensor]
CACHED_CAPTIONS = 256


class Aborted(Exception):
    """The caller's `callback` asked to stop."""


@dataclass
class Drawn(BaseOutput):
    """Pictures and the prototypes they came from, in the order of the seeds."""

    images: list[Image.Image]
    prototypes: list[Image.Image]


@dataclass(frozen=True)
class Sampling:
    """How the enhancer is asked; the fields are those of `StyleDiffuserPipeline.__call__`.

    Raises:
        ValueError: a field is out of range.
    """

    steps: int = 10
    strength: float = 0.6
    guidance: float = 1.0
    adapter_scale: float = 1.0
    style_scale: float = 1.0
    scheduler: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"steps must be 1 to 1000, not {self.steps}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength must be over 0 and at most 1, not {self.strength}")
        if self.guidance < 0:
            raise ValueError(f"guidance must not be negative, not {self.guidance}")


@dataclass
class Watch:
    """Counts evaluations over all pictures and tells the caller.

    Args:
        callback: gets (done, of); returning True stops with `Aborted`.
        preview: gets (number of the first picture in work, small pictures of where they are).
        every: steps between two previews.
    """

    callback: Callable[[int, int], bool | None] | None = None
    preview: Preview | None = None
    every: int = 5
    total: int = 0
    done: int = 0
    pictures: int = 0

    def advance(self, count: int) -> None:
        self.done += count
        if self.callback and self.callback(self.done, self.total):
            raise Aborted(f"stopped after {self.done} of {self.total} steps")


class StyleDiffuserPipeline(DiffusionPipeline):
    """X = F(G(w), q): a StyleGAN2 prototype redrawn by a Stable Diffusion it supervises.

    The prototype reaches the enhancer in three ways, each of which can be switched off: as the
    start latent (`strength=1` starts from noise alone), through the feature adapter
    (`adapter_scale=0`) and as style tokens (`style_scale=0`). Without an adapter it is the start
    alone, and then any StyleGAN2 goes with any Stable Diffusion.
    """

    _optional_components = ["adapter"]
    model_cpu_offload_seq = "prototype->text_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: Any,
        tokenizer: Any,
        unet: UNet2DConditionModel,
        scheduler: EulerDiscreteScheduler,
        prototype: Prototype,
        adapter: StyleAdapter | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            prototype=prototype,
            adapter=adapter,
        )
        for module in (vae, unet):
            lay_out(module, channels_last=True)
        for module in (text_encoder, prototype):
            lay_out(module)
        if adapter is not None:
            lay_out(adapter)
            adapter.install(unet)
        self._texts: OrderedDict[tuple[str, Any, Any], Tensor] = OrderedDict()

    @torch.no_grad()
    def __call__(
        self,
        seeds: Sequence[int],
        tags: Sequence[Sequence[str]] | None = None,
        *,
        prefix: Sequence[str] = (),
        steps: int = 10,
        strength: float = 0.6,
        truncation: float = 0.8,
        guidance: float = 1.0,
        adapter_scale: float = 1.0,
        style_scale: float = 1.0,
        scheduler: str | None = None,
        batch_size: int = 1,
        callback: Callable[[int, int], bool | None] | None = None,
        preview: Preview | None = None,
        preview_every: int = 5,
    ) -> Drawn:
        """Draw one picture per seed.

        Args:
            seeds: one per picture; a seed decides its latent and its noise and nothing else.
            tags: each picture's traits, for the label of G and the caption of the enhancer.
            prefix: tags put before every caption (the style the LoRA learnt).
            steps: of the scheduler per picture; one evaluation of the UNet each ("heun": two).
            strength: share of the noise schedule to run; 1 ignores the start latent.
            truncation: ψ of G.
            guidance: classifier-free guidance; 1 evaluates the UNet once a step.
            adapter_scale, style_scale: weights of the two conditionings; 0 switches one off. They
                mean nothing to a pipeline without an adapter.
            scheduler: a name of `schedulers.SCHEDULERS`; None is the pipeline's own (Euler's).
            batch_size: pictures computed together. The default gives the same bits however many
                seeds are asked; larger ones are the same up to rounding.
            callback: called as callback(done, of) after every evaluation over all pictures;
                returning True stops with `Aborted`.
            preview: called as preview(first, images) every `preview_every` evaluations, with small
                pictures of what those in work, from number `first` on, will be.

        Raises:
            Aborted: the callback asked to stop.
            ValueError: tags and seeds differ in number, or a parameter is out of range.
        """
        rows = [list(row) for row in tags] if tags is not None else [[] for _ in seeds]
        if len(seeds) != len(rows):
            raise ValueError(f"{len(seeds)} seeds but {len(rows)} rows of tags")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        sampling = Sampling(steps, strength, guidance, adapter_scale, style_scale, scheduler)
        watch = Watch(callback, preview, preview_every)
        watch.total = len(seeds) * self.evaluations(sampling)
        images: list[Image.Image] = []
        prototypes: list[Image.Image] = []
        for start in range(0, len(seeds), batch_size):
            part = slice(start, start + batch_size)
            z, noise, dice = seeded_noise(seeds[part], self.prototype.G.z_dim, self.latent_shape)
            ws = self.prototype.map(z.to(self.unet.device), rows[part], truncation)
            prototype, features = self.prototype.draw(ws)
            picture = self.redraw(
                ws,
                features,
                captions([*prefix, *row] for row in rows[part]),
                self.start_from(prototype, noise, strength),
                sampling,
                watch,
                dice,
            )
            images += to_images(picture)
            prototypes += to_images(prototype)
        return Drawn(images=images, prototypes=prototypes)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        size = self.unet.config.sample_size
        return (self.unet.config.in_channels, size, size)

    @property
    def size(self) -> int:
        """Pixels a side of its pictures. The UNet decides: a VAE's own size is where it was
        trained, and often another."""
        return self.unet.config.sample_size << (len(self.vae.config.block_out_channels) - 1)

    def evaluations(self, sampling: Sampling) -> int:
        """How often the UNet is asked for one picture."""
        scheduler = make_scheduler(sampling.scheduler, self.scheduler)
        return len(plan(scheduler, sampling.steps, sampling.strength, "cpu"))

    @torch.no_grad()
    def redraw(
        self,
        ws: Tensor,
        features: dict[int, Tensor],
        texts: Sequence[str],
        start: Start,
        sampling: Sampling,
        watch: Watch,
        dice: list[torch.Generator],
    ) -> Tensor:
        """The enhancer's part for one batch: pictures [N, 3, H, W] in [−1, 1].

        Args:
            ws: [N, num_ws, w_dim], for the style tokens.
            features: F_r of G by resolution, for the adapter.
            texts: N captions.
            start: (scheduler, its first timestep) → the latent [N, C, h, w] to begin with.
            dice: a generator a picture, for schedulers that draw noise.
        """
        scheduler = make_scheduler(sampling.scheduler, self.scheduler)
        timesteps = plan(scheduler, sampling.steps, sampling.strength, self.unet.device)
        drawn = {"generator": dice} if "generator" in signature(scheduler.step).parameters else {}
        set_style_scale(self.unet, sampling.style_scale)
        hidden = self._condition(ws, texts, guided=sampling.guidance != 1)
        residuals = None
        if self.adapter is not None and sampling.adapter_scale:
            maps = {r: f.to(self.unet.dtype) for r, f in features.items()}
            residuals = self.adapter.residuals(maps, sampling.adapter_scale)
        x = start(scheduler, timesteps[0])
        for index, t in enumerate(timesteps):
            z_t = scheduler.scale_model_input(x, t)
            said = self._predict(z_t, t, hidden, residuals, sampling.guidance)
            x = scheduler.step(said, t, x, **drawn).prev_sample
            if watch.preview and (index + 1) % watch.every == 0 and index + 1 < len(timesteps):
                watch.preview(watch.pictures, self._small(clean_part(scheduler, z_t, said, t)))
            watch.advance(len(x))
        watch.pictures += len(x)
        return self.vae.decode(x / self.vae.config.scaling_factor).sample.clamp(-1, 1)

    def start_from(self, picture: Tensor, noise: Tensor, strength: float) -> Start:
        """Begin with E(picture) noised to the first timestep, or with noise alone at strength 1."""
        noise = noise.to(self.unet.device, self.unet.dtype)

        def start(scheduler: Any, first: Tensor) -> Tensor:
            if strength >= 1:
                return noise * scheduler.init_noise_sigma
            return scheduler.add_noise(self.encode(picture), noise, first.repeat(len(noise)))

        return start

    @torch.no_grad()
    def encode(self, picture: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [−1, 1] of any size → scaled latents (the posterior's mode)."""
        fitted = enlarge(picture, self.size).to(self.vae.device, self.vae.dtype)
        fitted = fitted.contiguous(memory_format=torch.channels_last)
        return self.vae.encode(fitted).latent_dist.mode() * self.vae.config.scaling_factor

    def _small(self, z: Tensor) -> list[Image.Image]:
        """Latents → pictures of half the size, at a quarter of the cost."""
        small = F.avg_pool2d(z, 2) / self.vae.config.scaling_factor
        return to_images(self.vae.decode(small).sample)

    def _condition(self, ws: Tensor, texts: Sequence[str], *, guided: bool) -> Tensor:
        """Text tokens followed by style tokens; with guidance, the empty captions come first."""
        text = torch.cat([self._text(caption) for caption in texts]).to(self.unet.dtype)
        if guided:
            text = torch.cat([self._text("").expand_as(text), text])
        if self.adapter is None:
            return text
        style = self.adapter.style_tokens(ws.to(self.unet.dtype))
        return torch.cat([text, style.repeat(2, 1, 1) if guided else style], dim=1)

    def _text(self, caption: str) -> Tensor:
        """One caption's hidden states [1, L, D], kept for the next time it is asked for.

        Captions are encoded one by one, so that they are the same bits in every batch.
        """
        key = (caption, self.text_encoder.device, self.text_encoder.dtype)
        if key not in self._texts:
            self._texts[key] = encode_text(self.tokenizer, self.text_encoder, [caption])
        self._texts.move_to_end(key)
        if len(self._texts) > CACHED_CAPTIONS:
            self._texts.popitem(last=False)
        return self._texts[key]

    def _predict(
        self,
        z_t: Tensor,
        t: Tensor,
        hidden: Tensor,
        residuals: list[Tensor] | None,
        guidance: float,
    ) -> Tensor:
        """What the UNet says of z_t under the conditions, with guidance on the caption."""
        if guidance == 1:
            return supervised_unet(self.unet, z_t, t, hidden, residuals)
        residuals = residuals and [torch.cat([r, r]) for r in residuals]
        both = supervised_unet(self.unet, torch.cat([z_t, z_t]), t, hidden, residuals)
        empty, asked = both.chunk(2)
        return empty + guidance * (asked - empty)


def captions(rows: Iterable[Sequence[str]]) -> list[str]:
    """Tags of each picture → its caption."""
    return [", ".join(row) for row in rows]


def to_images(pictures: Tensor) -> list[Image.Image]:
    """[N, 3, H, W] in about [−1, 1] → RGB pictures."""
    return [Image.fromarray(p) for p in to_pixels(pictures)]


def supervised_unet(
    unet: UNet2DConditionModel,
    x: Tensor,
    t: Tensor,
    hidden: Tensor,
    residuals: list[Tensor] | None,
) -> Tensor:
    """The UNet with the adapter's residuals added to its skips; ε [N, C, h, w]."""
    extra: dict[str, Any] = {}
    if residuals is not None:
        *down, middle = residuals
        extra = {
            "down_block_additional_residuals": tuple(down),
            "mid_block_additional_residual": middle,
        }
    return unet(x, t, hidden, **extra).sample


def seeded_noise(
    seeds: Sequence[int], z_dim: int, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor, list[torch.Generator]]:
    """z [N, z_dim] and the diffusion noise [N, *shape], each row from its own seed, on the CPU;
    and the generators, for schedulers that draw more."""
    dice = [torch.Generator().manual_seed(seed) for seed in seeds]
    z = [torch.randn(z_dim, generator=one) for one in dice]
    noise = [torch.randn(shape, generator=one) for one in dice]
    return torch.stack(z), torch.stack(noise), dice


def clean_part(scheduler: Any, z_t: Tensor, said: Tensor, t: Tensor) -> Tensor:
    """The ẑ_0 that the UNet's answer at z_t means (Ho 2020, eq. 15)."""
    alpha = scheduler.alphas_cumprod[int(t)].to(z_t)
    if scheduler.config.prediction_type == "v_prediction":
        return alpha.sqrt() * z_t - (1 - alpha).sqrt() * said
    return (z_t - (1 - alpha).sqrt() * said) / alpha.sqrt()


def enlarge(prototype: Tensor, size: int) -> Tensor:
    """P resized to the enhancer's picture size, bicubic and antialiased when it shrinks."""
    if prototype.shape[-1] == size:
        return prototype
    resized = F.interpolate(
        prototype, size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(-1, 1)
