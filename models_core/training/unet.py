"""Training the base: a text-conditioned UNet on cached latents, with its text encoder.

L = E‖ε − ε_θ(z_t, t, τ(y))‖² (Rombach 2022, eq. 3), captions dropped for classifier-free
guidance (Ho 2022).
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from models_core.data.dataset import ImageFolder, contact_sheet, to_pixels
from models_core.enhancer.components import (
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_unet,
    encode_text,
)
from models_core.training.autoencoder import learning_rate
from models_core.training.diffusion import (
    ForwardProcess,
    autocast,
    cached_latents,
    decode_latents,
)
from models_core.training.initial import start_from, start_text_encoder
from models_core.training.run import Run, batch_indices, seed_step, take_steps, update_average
from models_core.training.state import PartsState, average_decay


class Source:
    """One data set's latents and captions, drawn with a weight."""

    def __init__(self, vae: AutoencoderKL, spec: dict[str, Any], run: Run) -> None:
        dataset = ImageFolder(Path(spec["data"]))
        kind = spec.get("kind", "crop")
        file = run.folder / f"latents-{Path(spec['data']).name}-{kind}.pt"
        self.latents = cached_latents(vae, dataset, kind, file, spec.get("limit"))
        self.tags = dataset.tags
        self.groups = dataset.vocabulary.tags
        self.prefix = spec.get("prefix", [])
        self.weight = float(spec["weight"])

    def caption(self, index: int, order: torch.Generator, drop: float) -> str:
        """The tags in random order, a share of them left out, so that any subset is a prompt."""
        tags = [*self.prefix, *self.tags[index]]
        kept = [t for t in tags if torch.rand(1, generator=order).item() >= drop]
        mixed = torch.randperm(len(kept), generator=order).tolist()
        return ", ".join(kept[i] for i in mixed)


class UNetTraining(PartsState):
    def __init__(self, run: Run) -> None:
        self.run, self.cfg = run, run.recipe["training"]
        recipe = run.recipe
        self.vae = AutoencoderKL.from_pretrained(recipe["vae"]).eval().requires_grad_(False)
        self.sources = [Source(self.vae, spec, run) for spec in recipe["sources"]]
        self.weights = torch.tensor([s.weight for s in self.sources])
        words = [t for s in self.sources for t in (*s.prefix, *s.groups)]
        text = recipe["text_encoder"]
        torch.manual_seed(self.cfg["seed"])
        self.tokenizer = build_tokenizer(words, text["max_length"])
        self.text_encoder = build_text_encoder(len(self.tokenizer), text)
        self.unet = build_unet(recipe["unet"], self.vae.config.latent_channels, text["width"])
        state = run.load()
        if state is None and "init" in recipe:
            start_from(self.unet, Path(recipe["init"]) / "unet")
            start_text_encoder(self.text_encoder, self.tokenizer, Path(recipe["init"]))
        self.model = torch.nn.ModuleDict({"unet": self.unet, "text": self.text_encoder})
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.cfg["lr"], betas=(0.9, 0.99), weight_decay=1e-2
        )
        self.scheduler = build_scheduler(self.cfg.get("schedule", "scaled_linear"))
        self.process = ForwardProcess(self.scheduler, self.cfg.get("min_snr_gamma"))
        self.restore(state)

    def _batch(self, order: torch.Generator) -> tuple[Tensor, list[str]]:
        n = self.cfg["batch"]
        which = torch.multinomial(self.weights, n, replacement=True, generator=order)
        z, captions = [], []
        for source in (self.sources[i] for i in which.tolist()):
            index = int(batch_indices(len(source.latents), 1, order))
            z.append(source.latents[index])
            empty = torch.rand(1, generator=order).item() < self.cfg["caption_dropout"]
            captions.append("" if empty else source.caption(index, order, self.cfg["tag_dropout"]))
        return torch.stack(z).contiguous(memory_format=torch.channels_last), captions

    def take_step(self) -> dict[str, float]:
        order = seed_step(self.cfg["seed"], self.step)
        rate = learning_rate(self.step, self.cfg["steps"], self.cfg["lr"], self.cfg["warmup"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        z, captions = self._batch(order)
        noise = torch.randn_like(z)
        t = torch.randint(self.process.steps, (len(z),), generator=order)
        with autocast(self.cfg):
            hidden = encode_text(self.tokenizer, self.text_encoder, captions)
            predicted = self.unet(self.process.add_noise(z, noise, t), t, hidden).sample
        loss = self.process.loss(predicted, noise, t)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        update_average(self.average, self.model, average_decay(self.step, self.cfg["ema"]))
        self.step += 1
        return {"loss": loss.item(), "lr": rate}

    @torch.no_grad()
    def sample_grid(self, count: int = 24, steps: int = 20, guidance: float = 2.0) -> np.ndarray:
        """Pictures from captions of the sources' first images, from fixed noise."""
        captions = []
        for i in range(count):
            source = self.sources[i % len(self.sources)]
            captions.append(", ".join([*source.prefix, *source.tags[i]]))
        unet, text = self.average["unet"], self.average["text"]
        hidden = encode_text(self.tokenizer, text, ["" for _ in captions] + captions)
        scheduler = copy.deepcopy(self.scheduler)
        scheduler.set_timesteps(steps)
        shape = self.sources[0].latents[0].shape
        z = torch.randn(count, *shape, generator=torch.Generator().manual_seed(3))
        z = z * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([z, z]), t)
            empty, asked = unet(both, t, hidden).sample.chunk(2)
            z = scheduler.step(empty + guidance * (asked - empty), t, z).prev_sample
        return to_pixels(decode_latents(self.vae, z))

    def export(self, folder: Path) -> None:
        """The averaged weights in diffusers' folder layout."""
        unet: Any = self.average["unet"]
        text: Any = self.average["text"]
        unet.save_pretrained(folder / "unet")
        text.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.vae.save_pretrained(folder / "vae")
        self.scheduler.save_pretrained(folder / "scheduler")


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    job = UNetTraining(run)
    take_steps(
        job,
        job.cfg["steps"] if steps is None else job.step + steps,
        saved=lambda: job.export(run.folder / "export"),
        sample=lambda: contact_sheet(job.sample_grid(), 8).save(run.samples(f"{job.step:06d}")),
    )
