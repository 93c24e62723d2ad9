"""The processes and devices that one training runs on, through accelerate.

    accelerate launch --num_processes 2 -m models_core train stylegan2 RECIPE

starts one process a GPU. Each takes its share of the recipe's batch, with random draws of its own;
before every optimizer step the gradients are averaged, so all of them hold the same weights. The
first process alone writes to the run's folder. In one process nothing of this costs anything.

Gradients are averaged by a hook on the optimizer, not by a wrapper around the network, because
StyleGAN2's penalties differentiate twice and call parts of the generator, not its `forward`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor, nn


class Processes:
    """Which process this is, where it computes, and what it shares with the others."""

    def __init__(self) -> None:
        self._state = PartialState(cpu=not torch.cuda.is_available())

    @property
    def device(self) -> torch.device:
        return self._state.device

    @property
    def count(self) -> int:
        return self._state.num_processes

    @property
    def first(self) -> bool:
        """Whether this process writes the run's folder."""
        return self._state.is_main_process

    def wait(self) -> None:
        """Until every process is here."""
        self._state.wait_for_everyone()

    def share(self, batch: int) -> int:
        """This process's part of a batch."""
        if batch % self.count:
            raise ValueError(
                f"the recipe's batch of {batch} cannot be shared by {self.count} processes alike; "
                "change training.batch or the number of processes"
            )
        return batch // self.count

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, all in one message."""
        own = list(tensors)
        if self.count == 1 or not own:
            return
        flat = torch.cat([tensor.flatten() for tensor in own])
        dist.all_reduce(flat)
        flat /= self.count
        for tensor, part in zip(own, flat.split([t.numel() for t in own]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def average_gradients(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        """From now on these optimizers step along the gradients' mean over the processes."""
        if self.count == 1:
            return
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(self._share_gradients)

    def _share_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in parameters:  # what this share of the batch did not reach counts as zero
            if parameter.grad is None and parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        self.average(p.grad for p in parameters if p.grad is not None)

    def average_buffers(self, network: nn.Module) -> None:
        """Make running statistics, which each process takes of its own share, the same in all."""
        self.average(b for b in network.buffers() if b.is_floating_point())


def process_rank() -> int:
    """0 in the only or first process of a training."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
