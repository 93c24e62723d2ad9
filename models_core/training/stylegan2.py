"""Training StyleGAN2: non-saturating logistic loss with lazy regularization (Karras 2020a)."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models_core.data.dataset import ImageFolder, contact_sheet, to_pixels, to_tensor
from models_core.stylediffuser.prototype import Prototype
from models_core.stylegan2 import Discriminator, Generator
from models_core.stylegan2.runs import generator_config
from models_core.training.run import Run, batch_indices, seed_step, take_steps, update_average


def mix_styles(G: Generator, z: Tensor, c: Tensor, probability: float) -> Tensor:
    """Map z to w; for a share of the batch, from a random layer on, use a second z's w.

    Mixing regularization (Karras 2019, §3.1). Returns [N, num_ws, w_dim].
    """
    ws = G.mapping(z, c, update_average=True)
    if probability > 0:
        other = G.mapping(torch.randn_like(z), c)
        cut = torch.randint(1, G.num_ws, (len(z), 1, 1))
        cut = torch.where(torch.rand(len(z), 1, 1) < probability, cut, G.num_ws)
        layer = torch.arange(G.num_ws).view(1, -1, 1)
        ws = torch.where(layer < cut, ws, other)
    return ws


def discriminator_loss(
    D: Discriminator, fake: Tensor, fake_c: Tensor, real: Tensor, real_c: Tensor
) -> tuple[Tensor, Tensor]:
    """E[softplus(D(fake))] + E[softplus(−D(real))]; also the mean sign of D(real), r_t."""
    real_logits = D(real, real_c)
    loss = F.softplus(D(fake, fake_c)).mean() + F.softplus(-real_logits).mean()
    return loss, real_logits.detach().sign().mean()


def r1_penalty(D: Discriminator, real: Tensor, c: Tensor) -> Tensor:
    """½ E‖∇ₓ D(x)‖² on real images (Mescheder 2018); multiply by γ."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(real, c).sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()


def path_length_penalty(
    G: Generator, z: Tensor, c: Tensor, mean: Tensor, decay: float = 0.01
) -> tuple[Tensor, Tensor]:
    """(‖J_wᵀ y‖₂ − a)² with y ~ N(0, I) over the image (Karras 2020a, eq. 4).

    `mean` is the running average a; returns the penalty and the new average.
    """
    ws = G.mapping(z, c)
    image = G.synthesis(ws)
    y = torch.randn_like(image) / math.sqrt(image.shape[2] * image.shape[3])
    (gradient,) = torch.autograd.grad((image * y).sum(), ws, create_graph=True)
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    new_mean = mean.lerp(lengths.detach().mean(), decay)
    return (lengths - new_mean).square().mean(), new_mean


class StyleGAN2Training:
    """The state of one run: networks, optimizers, step; and what one step does."""

    def __init__(self, run: Run, dataset: ImageFolder) -> None:
        self.run, self.cfg = run, run.recipe["training"]
        net = run.recipe["network"]
        size = net["img_resolution"]
        self.pixels = dataset.pixels("crop", size)
        self.labels = dataset.labels if net.get("conditional") else torch.zeros(len(dataset), 0)
        self.tags = dataset.vocabulary.tags if net.get("conditional") else []
        channels = {"channel_base": net["channel_base"], "channel_max": net["channel_max"]}
        self.config = generator_config(net, self.labels.shape[1])
        torch.manual_seed(self.cfg["seed"])
        # channels_last: a third faster on CPU, measured at this size.
        fast = torch.channels_last
        self.G: Generator = Generator(**self.config).to(memory_format=fast)  # type: ignore[call-overload]
        D = Discriminator(self.labels.shape[1], size, 3, **channels)
        self.D: Discriminator = D.to(memory_format=fast)  # type: ignore[call-overload]
        self.G_ema = copy.deepcopy(self.G).eval().requires_grad_(False)
        self.G_opt = self._optimizer(self.G, self.cfg.get("pl_interval", 0))
        self.D_opt = self._optimizer(self.D, self.cfg["r1_interval"])
        self.step = 0
        self.pl_mean = torch.zeros([])
        if state := run.load():
            self._restore(state)

    def _optimizer(self, net: torch.nn.Module, interval: int) -> torch.optim.Adam:
        """Adam, corrected for the extra step every `interval` (Karras 2020a, App. B)."""
        c = interval / (interval + 1) if interval else 1.0
        betas = (self.cfg["beta1"] ** c, self.cfg["beta2"] ** c)
        return torch.optim.Adam(net.parameters(), lr=self.cfg["lr"] * c, betas=betas, eps=1e-8)

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "pl_mean": self.pl_mean,
            "G": self.G.state_dict(),
            "D": self.D.state_dict(),
            "G_ema": self.G_ema.state_dict(),
            "G_opt": self.G_opt.state_dict(),
            "D_opt": self.D_opt.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.pl_mean = state["step"], state["pl_mean"]
        for name in ("G", "D", "G_ema", "G_opt", "D_opt"):
            getattr(self, name).load_state_dict(state[name])

    def _batch(self, order: torch.Generator) -> tuple[Tensor, Tensor]:
        index = batch_indices(len(self.pixels), self.cfg["batch"], order)
        return to_tensor(self.pixels[np.sort(index.numpy())]), self.labels[index.sort().values]

    def take_step(self) -> dict[str, float]:
        """One step of D, one of G, and the lazy penalties that are due."""
        order = seed_step(self.cfg["seed"], self.step)
        real, real_c = self._batch(order)
        n = self.cfg["batch"]
        if self.step * n < self.cfg.get("warmup_kimg", 0) * 1000:
            return self._warm_up(real, real_c)
        asked, fake_c = self._batch(order)
        out: dict[str, float] = {}

        self.G.requires_grad_(False)
        self.D.requires_grad_(True)
        z = torch.randn(n, self.G.z_dim)
        with torch.no_grad():
            fake = self.G.synthesis(mix_styles(self.G, z, fake_c, self.cfg["mixing"]))
        d_loss, r_t = discriminator_loss(self.D, fake, fake_c, real, real_c)
        self._apply(self.D_opt, d_loss)
        out |= {"d_loss": d_loss.item(), "r_t": r_t.item()}
        interval = self.cfg["r1_interval"]
        if self.step % interval == 0:
            penalty = r1_penalty(self.D, real, real_c)
            self._apply(self.D_opt, penalty * self.cfg["r1_gamma"] * interval)
            out["r1"] = penalty.item()

        self.G.requires_grad_(True)
        self.D.requires_grad_(False)
        ws = mix_styles(self.G, torch.randn(n, self.G.z_dim), fake_c, self.cfg["mixing"])
        fake = self.G.synthesis(ws)
        g_loss = F.softplus(-self.D(fake, fake_c)).mean()
        likeness = (fake - asked).abs().mean()
        self._apply(self.G_opt, g_loss + self.cfg.get("likeness_weight", 0) * likeness)
        out |= {"g_loss": g_loss.item(), "likeness": likeness.item()}
        interval = self.cfg.get("pl_interval", 0)
        if interval and self.step % interval == 0:
            half = max(n // 2, 1)
            penalty, self.pl_mean = path_length_penalty(
                self.G, torch.randn(half, self.G.z_dim), fake_c[:half], self.pl_mean
            )
            self._apply(self.G_opt, penalty * self.cfg["pl_weight"] * interval)
            out["pl"] = penalty.item()

        self._finish_step()
        return out

    def _warm_up(self, real: Tensor, c: Tensor) -> dict[str, float]:
        """A step without D: G(z, c) regresses to the drawing that has the label c.

        Only of use where the label says nearly everything about the picture, as drawn art's does;
        see docs/decisions/0005-warm-up.md.
        """
        ws = self.G.mapping(torch.randn(len(c), self.G.z_dim), c, update_average=True)
        fake = self.G.synthesis(ws)
        likeness = (fake - real).abs().mean()
        self._regress(4 * F.mse_loss(fake, real) + likeness)
        self._finish_step()
        return {"likeness": likeness.item()}

    def _regress(self, loss: Tensor) -> None:
        """Apply with momentum and a falling rate, which regression wants and the game does not."""
        (group,) = self.G_opt.param_groups
        kept = {"lr": group["lr"], "betas": group["betas"]}
        done = self.step * self.cfg["batch"] / (self.cfg["warmup_kimg"] * 1000)
        group["lr"] *= 0.1 + 0.9 * math.cos(done * math.pi / 2)
        group["betas"] = (0.9, group["betas"][1])
        self._apply(self.G_opt, loss)
        group.update(kept)

    def _finish_step(self) -> None:
        # EMA half-life in images, ramped up so that early averages are not stale (App. B).
        n = self.cfg["batch"]
        half_life = min(self.cfg["ema_kimg"] * 1000, (self.step + 1) * n * 0.05)
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
        prototype.save_pretrained(folder)

    @torch.no_grad()
    def sample_grid(self, count: int = 48) -> np.ndarray:
        labels = self.labels[:count]  # fewer, where the data set holds fewer
        z = torch.randn(len(labels), self.G.z_dim, generator=torch.Generator().manual_seed(1))
        return to_pixels(self.G_ema(z, labels, noise_mode="const"))


def train(run: Run, dataset: ImageFolder, *, steps: int | None = None) -> StyleGAN2Training:
    """Train until `training.kimg` (or for `steps` more steps), logging, sampling, saving."""
    job = StyleGAN2Training(run, dataset)
    batch = job.cfg["batch"]

    def sample() -> None:
        name = f"{job.step * batch // 1000:05d}"
        contact_sheet(job.sample_grid(), 12).save(run.samples(name))
        torch.save(job.G_ema.state_dict(), run.folder / "snapshots" / f"G_ema-{name}.pt")

    last = job.cfg["kimg"] * 1000 // batch if steps is None else job.step + steps
    take_steps(job, last, saved=lambda: job.export(run.folder / "export"), sample=sample)
    return job


def main(recipe: Path, folder: Path, steps: int | None = None) -> None:
    run = Run(folder, recipe)
    train(run, ImageFolder(Path(run.recipe["data"])), steps=steps)
