"""Training StyleGAN2: non-saturating logistic loss with lazy regularization (Karras 2020a) and
adaptive discriminator augmentation (Karras 2020b)."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models_core.data.dataset import ImageFolder, contact_sheet, to_pixels, to_tensor
from models_core.stylediffuser.prototype import Prototype
from models_core.stylegan2 import Discriminator, Generator
from models_core.stylegan2.ada import Augmentation, Strength
from models_core.stylegan2.loss import (
    discriminator_loss,
    generator_loss,
    mix_styles,
    path_length_penalty,
    r1_penalty,
)
from models_core.stylegan2.recipe import AugmentationTable, Recipe
from models_core.stylegan2.runs import discriminator_config, generator_config
from models_core.training.diffusion import autocast
from models_core.training.run import (
    Run,
    batch_indices,
    replacing,
    save_whole,
    seed_step,
    take_steps,
    update_average,
)
from models_core.training.stylegan2_initial import start_discriminator, start_generator
from models_core.training.stylegan2_metrics import SnapshotMetric


class Crops:
    """A split's pictures in memory-mapped pixels, with label vectors, drawn in batches."""

    def __init__(self, folder: ImageFolder, recipe: Recipe, device: torch.device) -> None:
        conditional = recipe.network.conditional
        self.pixels = folder.pixels("crop", recipe.network.img_resolution)
        self.labels = folder.labels if conditional else torch.zeros(len(folder), 0)
        self.flip = torch.tensor([bool(row.get("flip")) for row in folder.rows])
        self.mirror, self.device = recipe.training.mirror, device

    def batch(self, n: int, order: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images [N, 3, R, R] in [−1, 1] and labels [N, c_dim].

        With `mirror`, half of those pictures that may be mirrored are.
        """
        index = batch_indices(len(self.pixels), n, order).sort().values
        images = to_tensor(self.pixels[index.numpy()])
        if self.mirror:
            turned = (torch.rand(n, generator=order) < 0.5) & self.flip[index]
            images = torch.where(turned.view(n, 1, 1, 1), images.flip(3), images)
        return images.to(self.device), self.labels[index].to(self.device)


class StyleGAN2Training:
    """The state of one run: networks, optimizers, p, step; and what one step does."""

    def __init__(self, run: Run, dataset: ImageFolder, validation: ImageFolder | None) -> None:
        self.run, self.recipe = run, Recipe.check(run.recipe)
        self.cfg = self.recipe.training.model_dump()
        self.n: int = self.cfg["batch"]  # images a step in this process
        self.warmup = math.ceil(self.cfg["warmup_kimg"] * 1000 / run.batch)  # steps
        self.train_set = Crops(dataset, self.recipe, run.device)
        self.held_out = Crops(validation, self.recipe, run.device) if validation else None
        net, c_dim = self.recipe.network.model_dump(), self.train_set.labels.shape[1]
        self.tags = dataset.vocabulary.tags if c_dim else []
        self.config = generator_config(net, c_dim)
        torch.manual_seed(self.cfg["seed"])
        self.G: Any = self._placed(Generator(**self.config))
        self.D: Any = self._placed(Discriminator(**discriminator_config(net, c_dim)))
        state = run.load()
        if state is None and self.recipe.init:
            start_generator(self.G, self.tags, Path(self.recipe.init))
            start_discriminator(self.D, Path(self.recipe.init))
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        lr, d_lr = self.cfg["lr"], self.cfg["d_lr"] or self.cfg["lr"]
        self.G_opt = self._optimizer(self.G, lr, self.cfg["pl_interval"])
        self.D_opt = self._optimizer(self.D, d_lr, self.cfg["r1_interval"])
        self.augment, self.strength = augmentation(self.recipe.augmentation)
        self.step = 0
        self.pl_mean = torch.zeros([], device=run.device)
        if state is not None:
            self._restore(state)
        # All but the penalties go through these, so that they may be compiled (models_core/bench):
        # a compiled network cannot be differentiated twice.
        self.synthesis, self.judge = self.G.synthesis, self.D

    def _placed(self, network: nn.Module) -> Any:
        # channels_last: as fast or faster in every measured training (docs/benchmarks-models.md).
        return network.to(self.run.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _optimizer(self, net: nn.Module, lr: float, interval: int) -> torch.optim.Adam:
        """Adam, corrected for the extra step every `interval` (Karras 2020a, App. B)."""
        c = interval / (interval + 1) if interval else 1.0
        betas = (self.cfg["beta1"] ** c, self.cfg["beta2"] ** c)
        return torch.optim.Adam(net.parameters(), lr=lr * c, betas=betas, eps=1e-8)

    def state(self) -> dict[str, Any]:
        names = ("G", "D", "G_ema", "G_opt", "D_opt", "strength")
        parts = {name: getattr(self, name).state_dict() for name in names}
        return {"step": self.step, "pl_mean": self.pl_mean, **parts}

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.pl_mean = state["step"], state["pl_mean"].to(self.run.device)
        for name in ("G", "D", "G_ema"):
            getattr(self, name).load_state_dict(state[name])
        for optimizer, name in ((self.G_opt, "G_opt"), (self.D_opt, "D_opt")):
            lr = optimizer.param_groups[0]["lr"]  # the recipe's, which may have been edited
            optimizer.load_state_dict(state[name])
            optimizer.param_groups[0]["lr"] = lr
        if "strength" in state:  # runs begun before there was augmentation have none
            p = self.strength.p
            self.strength.load_state_dict(state["strength"])
            if self.recipe.augmentation.mode != "ada":
                self.strength.p = p  # the recipe's, which may have been edited

    def take_step(self) -> dict[str, float]:
        """One step of D, one of G, and the lazy penalties that are due."""
        order = seed_step(self.cfg["seed"], self.step)
        real, real_c = self.train_set.batch(self.n, order)
        asked, fake_c = self.train_set.batch(self.n, order)
        out = {"lr": self.cfg["lr"]}
        out |= self._step_discriminator(real, real_c, fake_c, order)
        if self.step < self.warmup:
            out |= self._warm_up(asked, fake_c)
            if self.step + 1 == self.warmup:
                # Regression's gradients ended small: moments that expect such would blow up
                # the first steps of the game.
                self.G_opt.state.clear()
        else:
            out |= self._step_generator(fake_c, asked)
        self._finish_step()
        return out

    def _logits(self, D: Any, images: Tensor, c: Tensor) -> Tensor:
        """D's opinion of augmented images, [N, 1]."""
        return D(self.augment(images, self.strength.p), c).float()

    def _latents(self, n: int) -> Tensor:
        return torch.randn(n, self.G.z_dim).to(self.run.device)

    def _autocast(self) -> Any:
        return autocast(self.cfg, self.run.device)

    def _step_discriminator(
        self, real: Tensor, real_c: Tensor, fake_c: Tensor, order: torch.Generator
    ) -> dict[str, float]:
        self.G.requires_grad_(False)
        self.D.requires_grad_(True)
        z = self._latents(self.n)
        with torch.no_grad(), self._autocast():
            ws = mix_styles(self.G, z, fake_c, self.cfg["mixing"])
            fake = self.synthesis(ws).float()
        with self._autocast():
            real_logits = self._logits(self.judge, real, real_c)
            fake_logits = self._logits(self.judge, fake, fake_c)
        loss = discriminator_loss(real_logits, fake_logits)
        self._apply(self.D_opt, loss)
        out = {"d_loss": loss.item(), "r_t": real_logits.detach().sign().mean().item()}
        interval = self.cfg["r1_interval"]
        if self.step % interval == 0:
            leaf = real.detach().requires_grad_(True)
            penalty = r1_penalty(self._logits(self.D, leaf, real_c), leaf)
            self._apply(self.D_opt, penalty * self.recipe.r1_gamma * interval)
            out["r1"] = penalty.item()
        if self.step < self.warmup:  # blurred drawings are told apart without any overfitting
            return out
        return out | self._steer(real_logits, fake_logits, order)

    @torch.no_grad()
    def _steer(
        self, real_logits: Tensor, fake_logits: Tensor, order: torch.Generator
    ) -> dict[str, float]:
        """Move p by how far D overfits, where the recipe says so."""
        mode, strength = self.recipe.augmentation.mode, self.strength
        if mode == "off":
            return {}
        out = {"p": strength.p}
        if mode == "fixed":
            return out
        strength.add(real_logits, fake_logits)
        if not strength.due:
            return out
        if strength.needs_validation:
            assert self.held_out is not None  # noqa: S101  `main` sees to it
            held_out, c = self.held_out.batch(self.n, order)
            strength.add_validation(self._logits(self.D, held_out, c))
        self.run.processes.average([strength.sums, strength.counts])
        out[f"{strength.heuristic}_steering"] = strength.adjust(self.run.processes.count)
        return out

    def _step_generator(self, c: Tensor, asked: Tensor) -> dict[str, float]:
        self.G.requires_grad_(True)
        self.D.requires_grad_(False)
        with self._autocast():
            ws = mix_styles(self.G, self._latents(self.n), c, self.cfg["mixing"])
            fake = self.synthesis(ws).float()
            loss = generator_loss(self._logits(self.judge, fake, c))
        likeness = (fake - asked).abs().mean()
        self._apply(self.G_opt, loss + self.cfg["likeness_weight"] * likeness)
        out = {"g_loss": loss.item()}
        if self.cfg["likeness_weight"]:
            out["likeness"] = likeness.item()
        interval = self.cfg["pl_interval"]
        if interval and self.step % interval == 0:
            half = max(self.n // 2, 1)  # Karras 2020a, App. B: it costs memory, and half will do
            ws = self.G.mapping(self._latents(half), c[:half])
            penalty, self.pl_mean = path_length_penalty(self.G, ws, self.pl_mean)
            self._apply(self.G_opt, penalty * self.cfg["pl_weight"] * interval)
            self.run.processes.average([self.pl_mean])
            out["pl"] = penalty.item()
        return out

    def _warm_up(self, real: Tensor, c: Tensor) -> dict[str, float]:
        """G(z, c) regresses to the drawing that has the label c, while D learns to tell them apart.

        Only of use where the label says nearly everything about the picture, as drawn art's does;
        see docs/decisions/0005-warm-up.md.
        """
        self.G.requires_grad_(True)
        with self._autocast():
            ws = self.G.mapping(self._latents(len(c)), c, update_average=True)
            fake = self.synthesis(ws).float()
        likeness = (fake - real).abs().mean()
        self._regress(4 * F.mse_loss(fake, real) + likeness)
        return {"likeness": likeness.item()}

    def _regress(self, loss: Tensor) -> None:
        """Apply with momentum and a falling rate, which regression wants and the game does not."""
        (group,) = self.G_opt.param_groups
        kept = {"lr": group["lr"], "betas": group["betas"]}
        done = self.step / self.warmup
        group["lr"] *= 0.1 + 0.9 * math.cos(done * math.pi / 2)
        group["betas"] = (0.9, group["betas"][1])
        self._apply(self.G_opt, loss)
        group.update(kept)

    def _finish_step(self) -> None:
        # EMA half-life in images, ramped up so that early averages are not stale (App. B).
        n = self.run.batch
        self.run.processes.average_buffers(self.G)
        ramp = (self.step + 1) * n * self.cfg["ema_rampup"]
        half_life = min(self.cfg["ema_kimg"] * 1000, ramp)
        update_average(self.G_ema, self.G, 0.5 ** (n / max(half_life, 1e-8)))
        self.step += 1

    @staticmethod
    def _apply(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def export(self, folder: Path) -> None:
        """The averaged generator with its tags, as a component of the pipeline."""
        prototype = Prototype(self.config, self.tags)
        prototype.G.load_state_dict(self.G_ema.state_dict())
        with replacing(folder) as part:
            prototype.save_pretrained(part)

    @torch.no_grad()
    def sample_grid(self, count: int = 48) -> np.ndarray:
        labels = self.train_set.labels[:count]  # fewer, where the data set holds fewer
        z = torch.randn(len(labels), self.G.z_dim, generator=torch.Generator().manual_seed(1))
        return self.draw(z, labels)

    @torch.no_grad()
    def draw(self, z: Tensor, c: Tensor) -> np.ndarray:
        """The averaged generator's pictures, uint8 [N, R, R, 3]."""
        device = self.run.device
        return to_pixels(self.G_ema(z.to(device), c.to(device), noise_mode="const"))


def augmentation(table: AugmentationTable) -> tuple[Augmentation, Strength]:
    """The pipeline and p, which stays 0 where the recipe says "off"."""
    heuristic = table.heuristic if table.mode == "ada" else None
    p = 0.0 if table.mode == "off" else table.p
    strength = Strength(p, heuristic, target=table.target, interval=table.interval, kimg=table.kimg)
    return Augmentation(table.classes), strength


def train(
    run: Run,
    dataset: ImageFolder,
    validation: ImageFolder | None = None,
    *,
    steps: int | None = None,
) -> StyleGAN2Training:
    """Train until `training.kimg` (or for `steps` more steps), logging, sampling, saving.

    `validation` is needed for the heuristic r_v and for metrics.
    """
    job = StyleGAN2Training(run, dataset, validation)
    metric = SnapshotMetric.of(job.recipe, validation or dataset, run)

    def sample() -> None:
        name = f"{job.step * run.batch // 1000:05d}"
        contact_sheet(job.sample_grid(), 12).save(run.samples(name))
        snapshot = run.folder / "snapshots" / f"G_ema-{name}.pt"
        save_whole(job.G_ema.state_dict(), snapshot)

    def saved() -> None:
        job.export(run.folder / "export")
        if metric is not None and metric.due(job.step):
            run.log(step=job.step, **metric.measure(job.draw, job.G.z_dim))

    last = math.ceil(job.cfg["kimg"] * 1000 / run.batch) if steps is None else job.step + steps
    take_steps(job, last, saved=saved, sample=sample)
    return job


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    checked = Recipe.read(recipe)  # before anything is written
    data = Path(checked.data)
    dataset = ImageFolder(data)
    measured = checked.metrics.every > 0
    steered = checked.augmentation.mode == "ada" and checked.augmentation.heuristic == "r_v"
    validation = ImageFolder(data, "validation") if measured or steered else None
    if validation is not None and len(validation) < (needed := 2 if measured else 1):
        raise ValueError(
            f"{validation.folder} holds {len(validation)} pictures, but "
            f"{'metrics' if measured else 'the heuristic r_v'} needs {needed} at the very least"
        )
    train(Run(folder, recipe), dataset, validation, steps=steps)
