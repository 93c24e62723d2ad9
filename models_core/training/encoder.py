"""Training the encoder e: picture → w of a frozen generator.

Own samples first: x = G(w) is drawn with its w known, so e regresses to it, in units of W's
spread. Then, from `refine_from` on, half of every batch are real crops, whose w nobody knows: there
the loss is the likeness of G(e(x)) and x alone, with the layers' w held together by `spread_weight`
(the delta regularisation of Tov 2021, §4.2), so that what is encoded can still be mixed.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models_core.data.dataset import ImageFolder, contact_sheet, to_pixels, to_tensor
from models_core.latent.component import EncoderConfig
from models_core.latent.encoder import Encoder, EncoderNetwork
from models_core.latent.likeness import Likeness, open_judge
from models_core.latent.space import LatentSpace
from models_core.training.autoencoder import learning_rate, psnr
from models_core.training.initial import start_from
from models_core.training.run import Run, batch_indices, seed_step, take_steps, update_average
from models_core.training.state import PartsState, average_decay

MEASURED = 4096  # draws that W's mean and spread are measured on
HELD_OUT = 64
SHOWN = 12


class OwnSamples:
    """Draws of a generator with the labels of a data set (or none): (w, G(w)) without end."""

    def __init__(self, space: LatentSpace, dataset: ImageFolder, mixing: float) -> None:
        self.space, self.mixing = space, mixing
        self.labels = torch.zeros(len(dataset), 0)
        if count := space.generator.c_dim:
            found = dataset.vocabulary.tags
            if len(found) != count or (space.tags and found != space.tags):
                raise ValueError(
                    f"the tags of {dataset.root} are not the generator's ({len(found)} against "
                    f"{count}); name the data set that it was trained on"
                )
            self.labels = dataset.labels

    @torch.no_grad()
    def draw(self, count: int, order: torch.Generator) -> tuple[Tensor, Tensor]:
        """ws [count, num_ws, w_dim], for a share of them mixed of two, and their pictures."""
        ws, other = self._map(count, order), self._map(count, order)
        cut = torch.randint(1, self.space.num_ws, (count, 1, 1))
        mixed = torch.rand(count, 1, 1) < self.mixing
        taken = mixed & (torch.arange(self.space.num_ws).view(1, -1, 1) >= cut)
        ws = torch.where(taken.to(ws.device), other, ws)
        return ws, self.space.synthesize(ws).clamp(-1, 1)

    def _map(self, count: int, order: torch.Generator) -> Tensor:
        c = self.labels[batch_indices(len(self.labels), count, order)]
        z = torch.randn(count, self.space.generator.z_dim, generator=order)
        return self.space.generator.mapping(z.to(self.space.device), c.to(self.space.device))

    def spread(self, seed: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of w, [w_dim] each."""
        # Not of `seed_step`: every process of a training must measure the same.
        with torch.no_grad():
            w = self._map(MEASURED, torch.Generator().manual_seed(seed))[:, 0]
        return w.mean(dim=0), w.std(dim=0).clamp(min=1e-3)


class LatentTraining(PartsState):
    """What the trainings of both encoders share: a frozen generator, data, and the optimizer."""

    def __init__(
        self, run: Run, space: LatentSpace, data: ImageFolder, network: Any, mixing: float
    ) -> None:
        """`network` is the class of what is trained, made of an `EncoderConfig`."""
        self.run, self.cfg, self.space = run, run.recipe["training"], space
        self.own = OwnSamples(space, data, mixing)
        self.pixels = data.pixels("crop", space.resolution)
        judge = open_judge(run.recipe.get("judge"))
        self.likeness = Likeness(judge, self.cfg.get("judge_weight", 1.0)).to(run.device)
        config = encoder_config(space, run.recipe["network"])
        torch.manual_seed(self.cfg["seed"])
        self.model = network(config).to(run.device)
        state = run.load()
        if state is None and "init" in run.recipe:
            start_from(self.model, Path(run.recipe["init"]))
        mean, std = self.own.spread(self.cfg["seed"])
        self.model.mean.copy_(mean)
        self.model.std.copy_(std)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=self.cfg["lr"], betas=(0.9, 0.99), weight_decay=1e-4
        )
        self.restore(state)

    def real(self, count: int, order: torch.Generator) -> Tensor:
        """Random real crops [count, 3, R, R]."""
        index = batch_indices(len(self.pixels), count, order).sort().values
        return to_tensor(self.pixels[index.numpy()]).to(self.run.device)

    def optimize(self, loss: Tensor) -> float:
        """One step down `loss`; returns the learning rate."""
        cfg = self.cfg
        rate = learning_rate(self.step, cfg["steps"], cfg["lr"], cfg["warmup"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        update_average(self.average, self.model, average_decay(self.step, cfg["ema"]))
        self.step += 1
        return rate


class EncoderTraining(LatentTraining):
    def __init__(self, run: Run, space: LatentSpace, data: ImageFolder, held: ImageFolder) -> None:
        super().__init__(run, space, data, EncoderNetwork, run.recipe["training"]["mixing"])
        self.held_out = to_tensor(held.pixels("crop", space.resolution)[:HELD_OUT]).to(run.device)

    def take_step(self) -> dict[str, float]:
        cfg = self.cfg
        order = seed_step(cfg["seed"], self.step)
        refining = self.step >= cfg["refine_from"]
        n = cfg["batch"] // 2 if refining else cfg["batch"]
        ws, x = self.own.draw(n, order)
        if refining:
            x = torch.cat([x, self.real(cfg["batch"] - n, order)])
        found = self.model(x.contiguous(memory_format=torch.channels_last))
        w_loss = ((found[:n] - ws) / self.model.std).square().mean()
        loss, out = cfg["w_weight"] * w_loss, {"w_loss": w_loss.item()}
        if refining:
            likeness = self.likeness(self.space.synthesize(found), x)
            spread = ((found - found.mean(dim=1, keepdim=True)) / self.model.std)[n:]
            loss = loss + likeness.mean() + cfg["spread_weight"] * spread.square().mean()
            out |= {"own": likeness[:n].mean().item(), "real": likeness[n:].mean().item()}
        return {**out, "lr": self.optimize(loss)}

    def export(self, folder: Path) -> None:
        """The averaged encoder, as `Encoder.from_folder` reads it."""
        Encoder(copy.deepcopy(self.average), self.space.fingerprint()).save(folder)

    @torch.no_grad()
    def evaluate(self) -> tuple[float, np.ndarray]:
        """PSNR of G(e(x)) on held-out real crops, and a sheet of crops above their drawings."""
        ws = torch.cat([self.average(part) for part in self.held_out.split(16)])
        drawn = torch.cat([self.space.synthesize(part) for part in ws.split(16)]).clamp(-1, 1)
        pairs = torch.cat([self.held_out[:SHOWN], drawn[:SHOWN]])
        return psnr(drawn, self.held_out), to_pixels(pairs)


def encoder_config(space: LatentSpace, net: dict[str, Any]) -> EncoderConfig:
    """The recipe's `[network]` table with the generator's sizes."""
    values = {**net, "widths": tuple(net["widths"])} if "widths" in net else net
    return EncoderConfig(space.resolution, space.num_ws, space.generator.w_dim, **values)


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    root = Path(run.recipe["data"])
    space = LatentSpace.open(Path(run.recipe["generator"]), run.device)
    job = EncoderTraining(run, space, ImageFolder(root), ImageFolder(root, "validation"))

    def sample() -> None:
        quality, sheet = job.evaluate()
        run.log(step=job.step, held_out_psnr=quality)
        contact_sheet(sheet, SHOWN).save(run.samples(f"{job.step:06d}"))

    last = job.cfg["steps"] if steps is None else job.step + steps
    take_steps(job, last, saved=lambda: job.export(run.folder / "export"), sample=sample)
