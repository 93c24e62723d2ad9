"""Drawing with a Stable Diffusion alone: the plain path, without a prototype."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from models_core.enhancer.checkpoint import Enhancer
from models_core.enhancer.components import encode_text


def noise_rows(seeds: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """[N, *shape], each row from its own seed, on the CPU."""
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


@torch.no_grad()
def draw(
    enhancer: Enhancer,
    captions: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 20,
    guidance: float = 1.0,
) -> Tensor:
    """One picture a caption, from noise: [N, 3, H, W] in [−1, 1].

    Args:
        captions, seeds: one each a picture.
        steps: UNet evaluations, evenly spaced over the whole schedule.
        guidance: classifier-free guidance (Ho 2022); 1 evaluates the UNet once a step.
    """
    unet, scheduler = enhancer.unet, copy.deepcopy(enhancer.scheduler)
    asked, guided = list(captions), guidance != 1
    if guided:
        asked = [""] * len(asked) + asked
    hidden = encode_text(enhancer.tokenizer, enhancer.text_encoder, asked)
    scheduler.set_timesteps(steps)
    size = unet.config.sample_size
    z = noise_rows(seeds, (unet.config.in_channels, size, size)).to(unet.device, unet.dtype)
    z = z * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(torch.cat([z, z]) if guided else z, t)
        said = unet(scaled, t, hidden).sample
        if guided:
            empty, wanted = said.chunk(2)
            said = empty + guidance * (wanted - empty)
        z = scheduler.step(said, t, z).prev_sample
    vae = enhancer.vae
    return vae.decode(z / vae.config.scaling_factor).sample.clamp(-1, 1)
