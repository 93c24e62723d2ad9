"""Training the critic: regress the faultlessness of a picture, then calibrate."""

from __future__ import annotations

import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from models_core.critic.calibrate import calibrate, held_out, report
from models_core.critic.critic import Critic
from models_core.critic.examples import (
    Examples,
    Shares,
    made_faults,
    read_snapshots,
    real_images,
)
from models_core.critic.network import CriticNetwork
from models_core.training.run import Run, seed_step, update_average


class CriticTraining:
    """One run's state and what one step does."""

    def __init__(self, run: Run) -> None:
        self.run, self.cfg = run, run.recipe["training"]
        torch.manual_seed(self.cfg["seed"])
        net = run.recipe["network"]
        self.model = CriticNetwork(net["size"], tuple(net["widths"])).to(run.device)
        # What is wrong place by place, asked in training alone: it teaches the features faults
        # that are small in the picture.
        self.places = nn.Conv2d(net["widths"][-1], 1, 1).to(run.device)
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            [*self.model.parameters(), *self.places.parameters()],
            lr=self.cfg["lr"],
            weight_decay=self.cfg["weight_decay"],
        )
        self.step = 0
        self.examples = Examples(
            real_images(run.recipe, "train"),
            read_snapshots(run.recipe),
            Shares(**run.recipe.get("shares", {})),
            made_faults(run.recipe),
            self.model.cells,
        )
        if state := run.load():
            self._restore(state)

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "places": self.places.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        for name in ("model", "places", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])

    def learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to a fiftieth."""
        warmup, total = self.cfg["warmup"], self.cfg["steps"]
        if self.step < warmup:
            return self.cfg["lr"] * (self.step + 1) / warmup
        done = min((self.step - warmup) / max(total - warmup, 1), 1)
        return self.cfg["lr"] * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)

    def take_step(self) -> float:
        """One batch; binary cross-entropy against 1 - strength. Returns the loss.

        The recipe's `places` weighs in the same, place by place.
        """
        seed_step(self.cfg["seed"], self.step)
        dice = np.random.default_rng([self.cfg["seed"], self.step])
        batch = self.examples.batch(self.cfg["batch"], dice).to(self.run.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        features = self.model.features(batch.images)
        loss = F.binary_cross_entropy_with_logits(self.model.score(features), batch.wanted)
        if weight := self.cfg.get("places", 0.0):
            known = ~batch.places.isnan()
            found = self.places(features)[:, 0]
            local = F.binary_cross_entropy_with_logits(found[known], batch.places[known])
            loss = loss + weight * local
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        decay = min(self.cfg["average"], (1 + self.step) / (10 + self.step))
        update_average(self.average, self.model, decay)
        return loss.item()


def train(run: Run, *, steps: int | None = None) -> CriticTraining:
    """Train up to the recipe's `steps` (or `steps` more), logging and saving."""
    job = CriticTraining(run)
    last = job.cfg["steps"] if steps is None else min(job.step + steps, job.cfg["steps"])
    losses: list[float] = []
    clock, cpu = time.monotonic(), time.process_time()
    while job.step < last:
        losses.append(job.take_step())
        if job.step % job.cfg["log_every"] == 0 or job.step == last:
            images = len(losses) * job.cfg["batch"]
            run.log(
                step=job.step,
                loss=sum(losses) / len(losses),
                images_per_s=images / (time.monotonic() - clock),
                cpu_s=time.process_time() - cpu,
            )
            losses, clock, cpu = [], time.monotonic(), time.process_time()
        if job.step % job.cfg["save_every"] == 0 or job.step == last:
            run.save(job.state())
    return job


def finish(run: Run, network: CriticNetwork, per_fault: int) -> dict[str, Any]:
    """Calibrate on the validation split, write `<run>/critic`, report on the test split."""
    critic, faults = Critic(network), made_faults(run.recipe)
    dice = np.random.default_rng(run.recipe["training"]["seed"])
    seen = held_out(real_images(run.recipe, "validation"), per_fault, dice, faults)
    critic.calibration = calibrate(critic.logits(seen[0]), seen[1])
    critic.save(run.folder / "critic")
    unseen = held_out(real_images(run.recipe, "test"), per_fault, dice, faults)
    measured = report(critic, *unseen)
    (run.folder / "report.json").write_text(json.dumps(measured, indent=2) + "\n")
    return measured


def main(recipe: Path, folder: Path, steps: int | None = None) -> dict[str, Any]:
    run = Run(folder, recipe)
    job = train(run, steps=steps)
    measured = finish(run, job.average.cpu(), job.cfg["per_fault"])
    run.log(step=job.step, **{k: v for k, v in measured.items() if isinstance(v, float)})
    return measured
