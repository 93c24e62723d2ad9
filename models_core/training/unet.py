"""Training the base: a text-conditioned UNet on cached latents, with its text encoder.

L = E‖ε − ε_θ(z_t, t, τ(y))‖² (Rombach 2022, eq. 3), captions dropped for classifier-free
guidance (Ho 2022).
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from models_core.data.dataset import contact_sheet, to_pixels
from models_core.enhancer.checkpoint import Enhancer
from models_core.enhancer.components import (
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    encode_text,
)
from models_core.enhancer.sampling import draw
from models_core.training.autoencoder import learning_rate
from models_core.training.diffusion import ForwardProcess, autocast
from models_core.training.initial import start_from, start_text_encoder
from models_core.training.run import Run, seed_step, take_steps, update_average
from models_core.training.sources import Sources
from models_core.training.state import PartsState, average_decay


class UNetTraining(PartsState):
    def __init__(self, run: Run) -> None:
        self.run, self.cfg = run, run.recipe["training"]
        recipe = run.recipe
        vae = AutoencoderKL.from_pretrained(recipe["vae"]).eval().requires_grad_(False)
        self.vae = vae.to(run.device)
        self.sources = Sources(self.vae, recipe["sources"], run)
        text = recipe["text_encoder"]
        torch.manual_seed(self.cfg["seed"])
        self.tokenizer = build_tokenizer(self.sources.words, text["max_length"])
        self.text_encoder = build_text_encoder(len(self.tokenizer), text)
        self.unet = build_unet(recipe["unet"], self.vae.config.latent_channels, text["width"])
        state = run.load()
        if state is None and "init" in recipe:
            start_from(self.unet, Path(recipe["init"]) / "unet")
            start_text_encoder(self.text_encoder, self.tokenizer, Path(recipe["init"]))
        self.model = torch.nn.ModuleDict({"unet": self.unet, "text": self.text_encoder})
        self.model.to(run.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.cfg["lr"], betas=(0.9, 0.99), weight_decay=1e-2
        )
        self.scheduler = build_scheduler(self.cfg.get("schedule", "scaled_linear"))
        gamma = self.cfg.get("min_snr_gamma")
        self.process = ForwardProcess(self.scheduler, gamma, run.device)
        self.restore(state)

    def take_step(self) -> dict[str, float]:
        order = seed_step(self.cfg["seed"], self.step)
        rate = learning_rate(self.step, self.cfg["steps"], self.cfg["lr"], self.cfg["warmup"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        z, captions = self.sources.batch(self.cfg, order)
        loss = self.process.denoising_loss(z, order, partial(self._predict, captions))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        update_average(self.average, self.model, average_decay(self.step, self.cfg["ema"]))
        self.step += 1
        return {"loss": loss.item(), "lr": rate}

    def _predict(self, captions: list[str], z_t: Tensor, t: Tensor) -> Tensor:
        with autocast(self.cfg, self.run.device):
            hidden = encode_text(self.tokenizer, self.text_encoder, captions)
            return self.unet(z_t, t, hidden).sample

    def averaged(self) -> Enhancer:
        """The components with averaged weights."""
        unet: Any = self.average["unet"]
        text: Any = self.average["text"]
        return Enhancer(unet, self.vae, text, self.tokenizer, self.scheduler)

    def sample_grid(self, count: int = 24, steps: int = 20, guidance: float = 2.0) -> np.ndarray:
        """Pictures from captions of the sources' first images, one seed each."""
        captions = self.sources.examples(count)
        pictures = draw(self.averaged(), captions, range(count), steps=steps, guidance=guidance)
        return to_pixels(pictures)

    def export(self, folder: Path) -> None:
        """The averaged weights in diffusers' folder layout."""
        self.averaged().save(folder)


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    job = UNetTraining(run)
    take_steps(
        job,
        job.cfg["steps"] if steps is None else job.step + steps,
        saved=lambda: job.export(run.folder / "export"),
        sample=lambda: contact_sheet(job.sample_grid(), 8).save(run.samples(f"{job.step:06d}")),
    )
