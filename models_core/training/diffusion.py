"""What the two diffusion loops share: the forward process and its loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor


class ForwardProcess:
    """q(z_t | z_0) = N(√ᾱ_t z_0, (1 − ᾱ_t) I)  (Ho 2020, eq. 4).

    Args:
        alphas_cumprod: ᾱ_t for every training step, [T].
        min_snr_gamma: γ of min-SNR weighting (Hang 2023, eq. for ε-prediction:
            min(SNR, γ) / SNR); None weighs all steps alike.
    """

    def __init__(self, alphas_cumprod: Tensor, min_snr_gamma: float | None = None) -> None:
        self.alphas_cumprod = alphas_cumprod
        self.min_snr_gamma = min_snr_gamma

    def add_noise(self, z: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """z, noise: [N, C, H, W], t: [N] integers → z_t."""
        alpha = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return alpha.sqrt() * z + (1 - alpha).sqrt() * noise

    def loss(self, predicted: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """E[w_t ‖ε − ε_θ‖²]."""
        error = F.mse_loss(predicted, noise, reduction="none").mean(dim=(1, 2, 3))
        if self.min_snr_gamma is not None:
            alpha = self.alphas_cumprod[t]
            snr = alpha / (1 - alpha)
            error = error * snr.clamp(max=self.min_snr_gamma) / snr
        return error.mean()


@torch.no_grad()
def encode_latents(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Images [N, 3, H, W] in [−1, 1] → scaled latents (the posterior's mode)."""
    z = vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mode()
    return z * vae.config.scaling_factor


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, z: Tensor) -> Tensor:
    """Scaled latents → images [N, 3, H, W] in about [−1, 1]."""
    return vae.decode(z / vae.config.scaling_factor).sample
