"""The StyleDiffuser pipeline: prototype → supervised enhancer → picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


class Aborted(Exception):
    """The caller's `callback` asked to stop."""


@dataclass
class Drawn(BaseOutput):
    """Pictures and the prototypes they came from, in the order of the seeds."""

    images: list[Image.Image]
    prototypes: list[Image.Image]


class StyleDiffuserPipeline(DiffusionPipeline):
    """X = F(G(w), q): a StyleGAN2 prototype redrawn by a Stable Diffusion it supervises.

    The prototype reaches the enhancer in three ways, each of which can be switched off: as the
    start latent (`strength=1` starts from noise alone), through the feature adapter
    (`adapter_scale=0`) and as style tokens (`style_scale=0`).
    """

    model_cpu_offload_seq = "prototype->text_encoder->unet->vae"

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: Any,
        tokenizer: Any,
        unet: UNet2DConditionModel,
        scheduler: EulerDiscreteScheduler,
        prototype: Prototype,
        adapter: StyleAdapter,
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
        for module in (text_encoder, prototype, adapter):
            lay_out(module)
        adapter.install(unet)

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
        batch_size: int = 1,
        callback: Callable[[int, int], bool | None] | None = None,
    ) -> Drawn:
        """Draw one picture per seed.

        Args:
            seeds: one per picture; a seed decides its latent and its noise and nothing else.
            tags: each picture's traits, for the label of G and the caption of the enhancer.
            prefix: tags put before every caption (the style the LoRA learnt).
            steps: UNet evaluations per picture.
            strength: share of the noise schedule to run; 1 ignores the start latent.
            truncation: ψ of G.
            guidance: classifier-free guidance; 1 evaluates the UNet once a step.
            adapter_scale, style_scale: weights of the two conditionings; 0 switches one off.
            batch_size: pictures computed together. The default gives the same bits however many
                seeds are asked; larger ones are the same up to rounding.
            callback: called as callback(done, of) after every step over all pictures; returning
                True stops with `Aborted`.

        Raises:
            Aborted: the callback asked to stop.
            ValueError: tags and seeds differ in number, or a parameter is out of range.
        """
        rows = [list(row) for row in tags] if tags is not None else [[] for _ in seeds]
        check_parameters(len(seeds), len(rows), steps, strength, guidance)
        set_style_scale(self.unet, style_scale)
        images: list[Image.Image] = []
        prototypes: list[Image.Image] = []
        total = steps * len(seeds)
        for start in range(0, len(seeds), batch_size):
            part = slice(start, start + batch_size)
            count = len(seeds[part])
            done = start * steps

            def advance(step: int, done: int = done, count: int = count) -> None:
                if callback and callback(done + step * count, total):
                    raise Aborted(f"stopped after {done + step * count} of {total} steps")

            picture, prototype = self._draw(
                seeds[part],
                rows[part],
                prefix=prefix,
                steps=steps,
                strength=strength,
                truncation=truncation,
                guidance=guidance,
                adapter_scale=adapter_scale,
                advance=advance,
            )
            images += [Image.fromarray(p) for p in to_pixels(picture)]
            prototypes += [Image.fromarray(p) for p in to_pixels(prototype)]
        return Drawn(images=images, prototypes=prototypes)

    def _draw(
        self,
        seeds: Sequence[int],
        tags: list[list[str]],
        *,
        prefix: Sequence[str],
        steps: int,
        strength: float,
        truncation: float,
        guidance: float,
        adapter_scale: float,
        advance: Callable[[int], None],
    ) -> tuple[Tensor, Tensor]:
        """One batch. Returns (pictures, prototypes), both [N, 3, H, W] in [−1, 1]."""
        device, dtype = self.unet.device, self.unet.dtype
        latent = self.unet.config.sample_size
        shape = (self.unet.config.in_channels, latent, latent)
        z, noise = seeded_noise(seeds, self.prototype.G.z_dim, shape)
        ws = self.prototype.map(z.to(device), tags, truncation)
        prototype, features = self.prototype.draw(ws)
        residuals = None
        if adapter_scale:
            maps = {r: f.to(dtype) for r, f in features.items()}
            residuals = self.adapter.residuals(maps, adapter_scale)
        hidden = self._condition(ws.to(dtype), tags, prefix, guided=guidance != 1)

        timesteps = partial_timesteps(self.scheduler, steps, strength)
        self.scheduler.set_timesteps(timesteps=timesteps, device=device)
        x = self._start(prototype, noise.to(device, dtype), strength)
        for index, t in enumerate(self.scheduler.timesteps):
            epsilon = self._predict(x, t, hidden, residuals, guidance)
            x = self.scheduler.step(epsilon, t, x).prev_sample
            advance(index + 1)
        picture = self.vae.decode(x / self.vae.config.scaling_factor).sample
        return picture.clamp(-1, 1), prototype.clamp(-1, 1)

    def _condition(
        self, ws: Tensor, tags: list[list[str]], prefix: Sequence[str], *, guided: bool
    ) -> Tensor:
        """Text tokens followed by style tokens; with guidance, the empty captions come first."""
        captions = [", ".join([*prefix, *row]) for row in tags]
        style = self.adapter.style_tokens(ws)
        if guided:
            captions = ["" for _ in captions] + captions
            style = torch.cat([style, style])
        text = encode_text(self.tokenizer, self.text_encoder, captions)
        return torch.cat([text.to(style.dtype), style], dim=1)

    def _start(self, prototype: Tensor, noise: Tensor, strength: float) -> Tensor:
        """The latent of the first step: E(P) noised to `strength`, or noise alone."""
        if strength >= 1:
            return noise * self.scheduler.init_noise_sigma
        size = self.vae.config.sample_size
        picture = enlarge(prototype, size).to(noise.dtype)
        clean = self.vae.encode(picture).latent_dist.mode() * self.vae.config.scaling_factor
        first = self.scheduler.timesteps[:1].repeat(len(noise))
        return self.scheduler.add_noise(clean, noise, first)

    def _predict(
        self,
        x: Tensor,
        t: Tensor,
        hidden: Tensor,
        residuals: list[Tensor] | None,
        guidance: float,
    ) -> Tensor:
        """ε_θ(x_t, t, conditions), with classifier-free guidance on the caption."""
        model_input = self.scheduler.scale_model_input(x, t)
        if guidance != 1:
            model_input = torch.cat([model_input, model_input])
            residuals = residuals and [torch.cat([r, r]) for r in residuals]
        epsilon = supervised_unet(self.unet, model_input, t, hidden, residuals)
        if guidance != 1:
            empty, asked = epsilon.chunk(2)
            epsilon = empty + guidance * (asked - empty)
        return epsilon


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


def check_parameters(seeds: int, tags: int, steps: int, strength: float, guidance: float) -> None:
    if seeds != tags:
        raise ValueError(f"{seeds} seeds but {tags} rows of tags")
    if not 1 <= steps <= 1000:
        raise ValueError(f"steps must be 1 to 1000, not {steps}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be over 0 and at most 1, not {strength}")
    if guidance < 0:
        raise ValueError(f"guidance must not be negative, not {guidance}")


def seeded_noise(seeds: Sequence[int], z_dim: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """z [N, z_dim] and the diffusion noise [N, *shape], each row from its own seed, on the CPU."""
    z, noise = [], []
    for seed in seeds:
        dice = torch.Generator().manual_seed(seed)
        z.append(torch.randn(z_dim, generator=dice))
        noise.append(torch.randn(shape, generator=dice))
    return torch.stack(z), torch.stack(noise)


def partial_timesteps(scheduler: Any, steps: int, strength: float) -> list[int]:
    """`steps` training timesteps from strength·T down to 0, evenly spaced, the first included."""
    last = scheduler.config.num_train_timesteps * strength
    spaced = [round(last - last / steps * i) - 1 for i in range(steps)]
    return sorted({max(t, 0) for t in spaced}, reverse=True)


def enlarge(prototype: Tensor, size: int) -> Tensor:
    """P resized to the enhancer's picture size, bicubic and antialiased when it shrinks."""
    if prototype.shape[-1] == size:
        return prototype
    resized = F.interpolate(
        prototype, size=(size, size), mode="bicubic", align_corners=False, antialias=True
    )
    return resized.clamp(-1, 1)
