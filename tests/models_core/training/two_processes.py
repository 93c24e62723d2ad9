"""One of several processes of a training: what test_processes.py starts.

`python -m tests.models_core.training.two_processes RECIPE FOLDER DATA`
"""

import sys
from pathlib import Path

import torch

from models_core.data.dataset import ImageFolder
from models_core.training.run import Run
from models_core.training.stylegan2 import train


def averaged_step(run: Run) -> list[float]:
    """One step of plain descent along a gradient that each process has of its own."""
    weight = torch.nn.Parameter(torch.zeros(2))
    untouched = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight, untouched], lr=1.0)
    run.processes.average_gradients([optimizer])
    rank = 0 if run.processes.first else 1
    loss = (weight * torch.tensor([1.0, 3.0 * rank])).sum()
    if rank:  # a branch that one process takes alone
        loss = loss + untouched.sum()
    loss.backward()
    optimizer.step()
    return [*weight.tolist(), *untouched.tolist()]


if __name__ == "__main__":
    recipe, folder, data = (Path(argument) for argument in sys.argv[1:])
    torch.set_num_threads(1)
    run = Run(folder, recipe)
    stepped = averaged_step(run)
    job = train(run, ImageFolder(data), ImageFolder(data, "validation"))
    name = "first" if run.processes.first else "second"
    share = {"n": job.n, "batch": run.batch, "stepped": stepped}
    torch.save({"state": job.state(), **share}, folder.parent / f"{name}.pt")
