"""Training StyleDiffuser: adapter and LoRA together, generator and text encoder frozen, and the
base UNet too unless the recipe says `train_base` (for a base that is itself still young).

Pairs: for a real picture x with tags q, a prototype P = G(w) shows the same traits with the faults
this generator makes (`pairs.py`). L = E‖ε − ε_θ(z_t, t, τ(q), F(G), w)‖² over adapter and LoRA.

The sampler starts from a noised E(P), not from a noised E(x), so early in its path the latent
still holds the prototype's faults. The loss sees the same: z_t is made from a mixture of E(x) and
E(P) that leans to E(P) as t nears the start, and the target ε is the one that leads to E(x).
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from models_core.data.dataset import ImageFolder, contact_sheet
from models_core.enhancer.components import encode_text
from models_core.enhancer.lora import save_lora
from models_core.stylediffuser.adapter import StyleAdapter
from models_core.stylediffuser.pipeline import StyleDiffuserPipeline, enlarge, supervised_unet
from models_core.stylediffuser.prototype import Prototype
from models_core.training.autoencoder import learning_rate
from models_core.training.base import add_lora, fused, open_base
from models_core.training.diffusion import (
    ForwardProcess,
    autocast,
    cached_latents,
    encode_latents,
)
from models_core.training.initial import start_from
from models_core.training.pairs import Encoder, Pairs, open_encoder
from models_core.training.run import Run, batch_indices, seed_step, take_steps
from models_core.training.state import ParametersState


def bridge(clean: Tensor, start: Tensor, t: Tensor, first: int, share: Tensor) -> Tensor:
    """The clean part of z_t: E(x), leaning to E(P) by share·t/first.

    clean, start: [N, C, h, w]; t, share: [N]; `first` is the sampler's first timestep.
    """
    lean = (share * t / first).clamp(0, 1).view(-1, 1, 1, 1)
    return clean + lean * (start - clean)


class StyleDiffuserTraining(ParametersState):
    def __init__(self, run: Run, encoder: Encoder | None = None) -> None:
        self.run, self.cfg = run, run.recipe["training"]
        recipe = run.recipe
        self.prefix = recipe.get("prefix", [])
        dataset = ImageFolder(Path(recipe["data"]))
        self.tags = dataset.tags
        self.prototype = Prototype.from_pretrained(recipe["prototype"]).eval().to(run.device)
        base = open_base(recipe, run.device)
        self.unet, self.text, self.vae = base.unet, base.text_encoder, base.vae
        self.tokenizer, self.scheduler = base.tokenizer, base.scheduler
        self.latents = cached_latents(
            self.vae, dataset, "crop", run.folder / "latents.pt", recipe.get("limit")
        )
        self.pairs = Pairs(
            self.prototype,
            dataset,
            run.folder / "ws.pt",
            encoder=encoder,
            share=recipe.get("encoder_share", 1.0),
            limit=recipe.get("limit"),
            truncation=self.cfg.get("truncation", (0.6, 1.0)),
        )
        torch.manual_seed(self.cfg["seed"])
        self.lora = add_lora(self.unet, recipe["lora"])
        if self.cfg.get("train_base"):
            self.lora = list(self.unet.requires_grad_(True).parameters())
        self.adapter = StyleAdapter.fitting(self.prototype.G, self.unet, recipe["tokens"])
        self.adapter.to(run.device).install(self.unet)
        state = run.load()
        if state is None and "init" in recipe:
            start_from(self.adapter, Path(recipe["init"]))
        groups = [
            {"params": list(self.adapter.parameters()), "peak": self.cfg["lr"]},
            {"params": self.lora, "peak": self.cfg["lora_lr"]},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=1e-3)
        gamma = self.cfg.get("min_snr_gamma")
        self.process = ForwardProcess(self.scheduler, gamma, run.device)
        self.begin([*self.adapter.parameters(), *self.lora], state)

    def take_step(self) -> dict[str, float]:
        cfg, device = self.cfg, self.run.device
        order = seed_step(cfg["seed"], self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, cfg["steps"], group["peak"], cfg["warmup"])
        n, first = cfg["batch"], round(self.process.steps * cfg["max_strength"])
        index = batch_indices(len(self.latents), n, order).tolist()
        tags = [self.tags[i] for i in index]
        clean = torch.stack([self.latents[i] for i in index]).to(device)
        with torch.no_grad():
            ws = self.pairs.ws(index, order)
            image, features = self.prototype.draw(ws)
            start = encode_latents(self.vae, enlarge(image, self.vae.config.sample_size))
            hidden = encode_text(self.tokenizer, self.text, self._captions(tags, order))
        t = torch.randint(first, (n,), generator=order).to(device)
        noise = torch.randn_like(clean)
        share = torch.rand(n, generator=order).to(device)
        z_t = self.process.add_noise(bridge(clean, start, t, first, share), noise, t)
        target = self.process.target(clean, self.process.noise_towards(clean, z_t, t), t)
        fast = z_t.contiguous(memory_format=torch.channels_last)
        with autocast(cfg, device):
            hidden = torch.cat([hidden, self.adapter.style_tokens(ws)], dim=1)
            residuals = self.adapter.residuals(features)
            predicted = supervised_unet(self.unet, fast, t, hidden, residuals)
        loss = self.process.loss(predicted, target, t)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.update_average(cfg["ema"])
        self.step += 1
        return {"loss": loss.item(), "lr": self.optimizer.param_groups[0]["lr"]}

    def _captions(self, tags: list[list[str]], order: torch.Generator) -> list[str]:
        drop = torch.rand(len(tags), generator=order) < self.cfg["caption_dropout"]
        return [
            "" if d else ", ".join([*self.prefix, *row]) for d, row in zip(drop, tags, strict=True)
        ]

    def pipeline(self, unet: UNet2DConditionModel | None = None) -> StyleDiffuserPipeline:
        return StyleDiffuserPipeline(
            vae=self.vae,
            text_encoder=self.text,
            tokenizer=self.tokenizer,
            unet=self.unet if unet is None else unet,
            scheduler=self.scheduler,
            prototype=self.prototype,
            adapter=self.adapter,
        )

    def export(self, folder: Path) -> None:
        """Averaged adapter and LoRA apart, and the whole pipeline with the LoRA fused in."""
        with self.averaged():
            self.adapter.save_pretrained(folder / "adapter")
            save_lora(self.unet, folder / "lora")
            self.pipeline(fused(copy.deepcopy(self.unet))).save_pretrained(folder / "pipeline")

    def sample_sheet(self, count: int = 16) -> np.ndarray:
        """Prototypes above the pictures drawn from them, eight a row."""
        pipe = self.pipeline()
        pipe.set_progress_bar_config(disable=True)
        strength = self.cfg["max_strength"]
        with self.averaged():
            drawn = pipe(
                range(count), self.tags[:count], prefix=self.prefix, strength=strength, batch_size=8
            )
        rows = []
        for i in range(0, count, 8):
            size = drawn.images[0].size
            rows += [p.resize(size) for p in drawn.prototypes[i : i + 8]]
            rows += drawn.images[i : i + 8]
        return np.stack([np.asarray(image) for image in rows])


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    job = StyleDiffuserTraining(run, open_encoder(run.recipe))
    take_steps(
        job,
        job.cfg["steps"] if steps is None else job.step + steps,
        saved=lambda: job.export(run.folder / "export"),
        sample=lambda: contact_sheet(job.sample_sheet(), 8).save(run.samples(f"{job.step:06d}")),
    )
