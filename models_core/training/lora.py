"""Training a LoRA (Hu 2021): one style for a base that knows many.

L = E‖ε − ε_θ(z_t, t, τ(y))‖² over the low-rank matrices alone; UNet, text encoder and autoencoder
stand still. The general model needs no crops: its recipe may ask for whole pictures.
"""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models_core.data.dataset import contact_sheet, to_pixels
from models_core.enhancer.checkpoint import Enhancer
from models_core.enhancer.components import encode_text
from models_core.enhancer.lora import save_lora
from models_core.enhancer.sampling import draw
from models_core.training.autoencoder import learning_rate
from models_core.training.base import add_lora, fused, open_base
from models_core.training.diffusion import ForwardProcess, autocast
from models_core.training.run import Run, seed_step, take_steps
from models_core.training.sources import Sources
from models_core.training.state import ParametersState


class LoraTraining(ParametersState):
    def __init__(self, run: Run) -> None:
        self.run, self.cfg = run, run.recipe["training"]
        self.base = open_base(run.recipe, run.device)
        self.sources = Sources(self.base.vae, run.recipe["sources"], run)
        torch.manual_seed(self.cfg["seed"])
        trained = add_lora(self.base.unet, run.recipe["lora"])
        self.optimizer = torch.optim.AdamW(
            trained, lr=self.cfg["lr"], betas=(0.9, 0.99), weight_decay=1e-3
        )
        gamma = self.cfg.get("min_snr_gamma")
        self.process = ForwardProcess(self.base.scheduler, gamma, run.device)
        self.begin(trained, run.load())

    def take_step(self) -> dict[str, float]:
        order = seed_step(self.cfg["seed"], self.step)
        rate = learning_rate(self.step, self.cfg["steps"], self.cfg["lr"], self.cfg["warmup"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        z, captions = self.sources.batch(self.cfg, order)
        loss = self.process.denoising_loss(z, order, partial(self._predict, captions))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.update_average(self.cfg["ema"])
        self.step += 1
        return {"loss": loss.item(), "lr": rate}

    def _predict(self, captions: list[str], z_t: Tensor, t: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = encode_text(self.base.tokenizer, self.base.text_encoder, captions)
        with autocast(self.cfg, self.run.device):
            return self.base.unet(z_t, t, hidden).sample

    def merged(self) -> Enhancer:
        """The base with the averaged LoRA fused into its UNet."""
        with self.averaged():
            return Enhancer(**{**vars(self.base), "unet": fused(copy.deepcopy(self.base.unet))})

    def sample_grid(self, count: int = 24, steps: int = 20, guidance: float = 2.0) -> np.ndarray:
        """Pictures from captions of the sources' first images, one seed each."""
        captions = self.sources.examples(count)
        return to_pixels(
            draw(self.merged(), captions, range(count), steps=steps, guidance=guidance)
        )

    def export(self, folder: Path) -> None:
        """The averaged LoRA alone, and the base with it fused in, in diffusers' layout."""
        with self.averaged():
            save_lora(self.base.unet, folder / "lora")
        self.merged().save(folder / "merged")


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    job = LoraTraining(run)
    take_steps(
        job,
        job.cfg["steps"] if steps is None else job.step + steps,
        saved=lambda: job.export(run.folder / "export"),
        sample=lambda: contact_sheet(job.sample_grid(), 8).save(run.samples(f"{job.step:06d}")),
    )
