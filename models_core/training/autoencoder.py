"""Training the enhancer's autoencoder: diffusers' AutoencoderKL on drawn art.

Flat art needs every edge, and what the autoencoder loses nothing downstream brings back. So it
begins as a plain autoencoder (the posterior's mean, loss 4·MSE + L1) and takes the KL term
(Kingma 2014; Rombach 2022, §3.1) only in the last part of the run, at a tiny weight: enough to
keep latents bounded. Fully convolutional without attention, it learns from random patches, which
are many times cheaper than whole images.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from models_core.data.dataset import ImageFolder, contact_sheet, to_pixels, to_tensor
from models_core.training.diffusion import autocast
from models_core.training.initial import start_from
from models_core.training.run import Run, batch_indices, seed_step, take_steps, update_average
from models_core.training.state import PartsState, average_decay


def build_autoencoder(net: dict[str, Any]) -> AutoencoderKL:
    """AutoencoderKL with factor 2^(levels − 1), from the recipe's `[network]` table."""
    channels = tuple(net["channels"])
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=net["layers"],
        latent_channels=net["latent_channels"],
        norm_num_groups=net["groups"],
        sample_size=net["image_size"],
        mid_block_add_attention=False,
    ).to(memory_format=torch.channels_last)


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for images in [−1, 1]."""
    return 10 * math.log10(4 / F.mse_loss(a, b).item())


def learning_rate(step: int, last: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then linear decay to a hundredth."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * max(1 - (step - warmup) / max(last - warmup, 1), 0.01)


class AutoencoderTraining(PartsState):
    def __init__(self, run: Run, sets: list[ImageFolder], held_out: ImageFolder) -> None:
        self.run, self.cfg = run, run.recipe["training"]
        size = run.recipe["network"]["image_size"]
        kinds = run.recipe.get("kinds", ["crop", "whole"])
        self.sources = [s.pixels(kind, size) for s in sets for kind in kinds]
        self.held_out = to_tensor(held_out.pixels("crop", size)[:32]).to(run.device)
        torch.manual_seed(self.cfg["seed"])
        self.model = build_autoencoder(run.recipe["network"]).to(run.device)
        state = run.load()
        if state is None and "init" in run.recipe:
            start_from(self.model, Path(run.recipe["init"]))
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.cfg["lr"], betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.restore(state)

    def _batch(self, order: torch.Generator) -> Tensor:
        """Random patches [N, 3, P, P], from every source alike."""
        n, patch = self.cfg["batch"], self.cfg["patch"]
        out = np.empty((n, patch, patch, 3), dtype=np.uint8)
        which = batch_indices(len(self.sources), n, order)
        for i, source in enumerate(which.tolist()):
            pixels = self.sources[source]
            index = int(torch.randint(len(pixels), (1,), generator=order))
            room = pixels.shape[1] - patch + 1
            y, x = torch.randint(room, (2,), generator=order).tolist()
            out[i] = pixels[index, y : y + patch, x : x + patch]
        images = to_tensor(out).to(self.run.device)
        return images.contiguous(memory_format=torch.channels_last)

    def take_step(self) -> dict[str, float]:
        last = self.cfg["steps"]
        order = seed_step(self.cfg["seed"], self.step)
        x = self._batch(order)
        rate = learning_rate(self.step, last, self.cfg["lr"], self.cfg["warmup"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.step == self.cfg.get("decoder_only_from"):
            self._settle_encoder()
        with autocast(self.cfg, self.run.device):
            z, penalty = self._encode(x, late=self.step >= self.cfg["kl_from"] * last)
            y = self.model.decode(z).sample.float()
        mse, l1 = F.mse_loss(y, x), (y - x).abs().mean()
        loss = 4 * mse + l1 + penalty
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        update_average(self.average, self.model, average_decay(self.step, 0.999))
        self.step += 1
        return {"loss": loss.item(), "mse": mse.item(), "lr": rate}

    def _encode(self, x: Tensor, late: bool) -> tuple[Tensor, Tensor | float]:
        """The latent to decode, and the KL term of the loss."""
        if self.step >= self.cfg.get("decoder_only_from", math.inf):
            with torch.no_grad():
                z = self.model.encode(x).latent_dist.mode()
            return self._blurred(z), 0.0
        posterior = self.model.encode(x).latent_dist
        if not late:
            return self._blurred(posterior.mode()), 0.0
        return posterior.sample(), self.cfg["kl_weight"] * posterior.kl().mean() / x[0].numel()

    def _blurred(self, z: Tensor) -> Tensor:
        """z with a little noise: the diffusion's latents are never exact, so the decoder must not
        mind, and the encoder must not say anything in differences that small."""
        return z + self.cfg["latent_noise"] * z.detach().std() * torch.randn_like(z)

    @torch.no_grad()
    def _settle_encoder(self) -> None:
        """From here on the encoder is its average and stands still, so that latents cached by the
        diffusion's training stay true while the decoder goes on learning."""
        for part in ("encoder", "quant_conv"):
            mine, mean = getattr(self.model, part), getattr(self.average, part)
            mine.load_state_dict(mean.state_dict())

    def export(self, folder: Path) -> None:
        """The averaged weights in diffusers' layout, scaled so that latents have unit variance."""
        with torch.no_grad():
            z = self.average.encode(self.held_out).latent_dist.mode()
        self.average.register_to_config(scaling_factor=round(1 / z.std().item(), 5))
        self.average.save_pretrained(folder)

    @torch.no_grad()
    def evaluate(self) -> tuple[float, np.ndarray]:
        """PSNR on held-out whole images, and a sheet of originals above reconstructions."""
        z = self.average.encode(self.held_out).latent_dist.mode()
        y = self.average.decode(z).sample.clamp(-1, 1)
        pairs = torch.cat([self.held_out[:10], y[:10]])
        return psnr(y, self.held_out), to_pixels(pairs)


def train(run: Run, sets: list[ImageFolder], held_out: ImageFolder, steps: int | None) -> None:
    job = AutoencoderTraining(run, sets, held_out)

    def saved() -> None:
        quality, sheet = job.evaluate()
        run.log(step=job.step, held_out_psnr=quality)
        contact_sheet(sheet, 10).save(run.samples(f"{job.step:06d}"))
        job.export(run.folder / "export")

    take_steps(job, job.cfg["steps"] if steps is None else job.step + steps, saved=saved)


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    roots = [Path(root) for root in run.recipe["data"]]
    train(run, [ImageFolder(r) for r in roots], ImageFolder(roots[0], "validation"), steps)
