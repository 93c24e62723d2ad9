"""What the diffusion loops share: the forward process and its loss, latents, precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from models_core.data.dataset import ImageFolder, to_tensor

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


class ForwardProcess:
    """q(z_t | z_0) = N(√ᾱ_t z_0, (1 − ᾱ_t) I)  (Ho 2020, eq. 4), and the loss of undoing it.

    Args:
        scheduler: gives ᾱ_t for every training step and `prediction_type`: "epsilon", or
            "v_prediction" (Salimans 2022), which some Stable Diffusion 2.x were trained for.
        min_snr_gamma: γ of min-SNR weighting (Hang 2023, §3.4: min(SNR, γ) / SNR for ε, over
            SNR + 1 for v); None weighs all steps alike.
        device: where z and t lie.
    """

    def __init__(
        self,
        scheduler: Any,
        min_snr_gamma: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.alphas_cumprod: Tensor = scheduler.alphas_cumprod.to(device)
        self.prediction = scheduler.config.prediction_type
        if self.prediction not in ("epsilon", "v_prediction"):
            raise ValueError(f"training knows epsilon and v_prediction, not {self.prediction!r}")
        self.min_snr_gamma = min_snr_gamma

    @property
    def steps(self) -> int:
        return len(self.alphas_cumprod)

    def _alpha(self, t: Tensor) -> Tensor:
        return self.alphas_cumprod[t].view(-1, 1, 1, 1)

    def add_noise(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z, noise: [N, C, H, W], t: [N] integers → z_t."""
        alpha = self._alpha(t)
        return alpha.sqrt() * z + (1 - alpha).sqrt() * noise

    def noise_towards(self, clean: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """The ε for which z_t is a noised `clean`."""
        alpha = self._alpha(t)
        return (z_t - alpha.sqrt() * clean) / (1 - alpha).sqrt()

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the UNet is to say: ε, or v = √ᾱ ε − √(1 − ᾱ) z_0."""
        if self.prediction == "epsilon":
            return noise
        alpha = self._alpha(t)
        return alpha.sqrt() * noise - (1 - alpha).sqrt() * clean

    def denoising_loss(
        self, z: Tensor, order: torch.Generator, predict: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """The loss of z [N, C, H, W] at timesteps drawn uniformly; `predict(z_t, t)` is a UNet."""
        noise = torch.randn_like(z)
        t = torch.randint(self.steps, (len(z),), generator=order).to(z.device)
        return self.loss(predict(self.add_noise(z, noise, t), t), self.target(z, noise, t), t)

    def loss(self, predicted: Tensor, target: Tensor, t: Tensor) -> Tensor:
        """E[w_t ‖target − predicted‖²]."""
        error = F.mse_loss(predicted.float(), target, reduction="none").mean(dim=(1, 2, 3))
        if self.min_snr_gamma is not None:
            alpha = self.alphas_cumprod[t]
            snr = alpha / (1 - alpha)
            scale = snr if self.prediction == "epsilon" else snr + 1
            error = error * snr.clamp(max=self.min_snr_gamma) / scale
        return error.mean()


def autocast(training: Mapping[str, Any], device: torch.device) -> AbstractContextManager[Any]:
    """The recipe's `precision`: "fp32" (default) or "bf16", where matrix products and
    convolutions compute in bfloat16 and weights, sums and optimizer stay float32."""
    name = training.get("precision", "fp32")
    if name not in PRECISIONS:
        raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {name!r}")
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16")


@torch.no_grad()
def encode_latents(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Images [N, 3, H, W] in [−1, 1] → scaled latents (the posterior's mode)."""
    fast = pixels.to(vae.device).contiguous(memory_format=torch.channels_last)
    z = vae.encode(fast).latent_dist.mode()
    return z * vae.config.scaling_factor


def cached_latents(
    vae: AutoencoderKL, dataset: ImageFolder, kind: Any, file: Path, limit: int | None = None
) -> Tensor:
    """The (first `limit`) images' latents [N, C, h, w] in float32, computed once."""
    if not file.exists():
        pixels = dataset.pixels(kind, vae.config.sample_size)[:limit]
        parts = [
            encode_latents(vae, to_tensor(pixels[i : i + 32])) for i in range(0, len(pixels), 32)
        ]
        part = file.with_suffix(".part")
        torch.save(torch.cat(parts).cpu(), part)
        part.replace(file)
    return torch.load(file, weights_only=True, mmap=True)
