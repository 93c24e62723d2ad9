"""Every loop computes where its run says, with a device that computes nothing in the GPU's place.

torch's "meta" device knows shapes alone and mixes with no other, so a step that ends has met no
tensor that was left behind on the CPU.
"""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models_core.data.dataset import ImageFolder
from models_core.training.autoencoder import AutoencoderTraining
from models_core.training.lora import LoraTraining
from models_core.training.processes import Processes
from models_core.training.run import Run
from models_core.training.stylediffuser import StyleDiffuserTraining
from models_core.training.unet import UNetTraining

META, CPU = torch.device("meta"), torch.device("cpu")
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}


class ApartFromTheCpu(TorchDispatchMode):
    """Lets tensors move between the devices, and fails where one operation sees both.

    What comes from the device, which has no numbers, is zero.
    """

    def __init__(self) -> None:
        super().__init__()
        self.computed = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        there = [x for x in tensors if x.device == META]
        if func is aten._local_scalar_dense.default and there:
            return 0.0
        if func is aten._to_copy.default and there and kwargs.get("device", META) == CPU:
            return torch.zeros_like(args[0], device=CPU, dtype=kwargs.get("dtype"))
        if func is aten.copy_.default and there and args[0].device == CPU:
            return args[0].zero_()
        if there and func not in MOVES:
            self.computed += 1
            behind = [x.shape for x in tensors if x.device == CPU and x.dim()]
            assert not behind, f"{func} of the device's tensors and of the CPU's {behind}"
        return func(*args, **kwargs)


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(Processes, "device", property(lambda self: META))
    autocast = torch.autocast
    known = {"meta": "cpu"}
    monkeypatch.setattr(
        torch, "autocast", lambda kind, *a, **k: autocast(known.get(kind, kind), *a, **k)
    )
    with ApartFromTheCpu() as mode:
        yield mode


def open_autoencoder(chain, run):
    data = ImageFolder(chain / "data")
    return AutoencoderTraining(run, [data], data)


LOOPS = {
    "vae": open_autoencoder,
    "unet": lambda chain, run: UNetTraining(run),
    "lora": lambda chain, run: LoraTraining(run),
    "style": lambda chain, run: StyleDiffuserTraining(run),
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_step_is_taken_on_the_runs_device(chain, tmp_path, device, name):
    job = LOOPS[name](chain, Run(tmp_path / "run", chain / f"{name}.toml"))
    job.take_step()
    assert job.step == 1
    assert device.computed > 100
    parameters = [p for group in job.optimizer.param_groups for p in group["params"]]
    assert {p.device for p in parameters} == {META}
    assert all(p.grad is None or p.grad.device == META for p in parameters)
    job.state()
