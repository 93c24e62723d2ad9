"""StyleGAN2's losses against their definitions, and runs that are killed and resumed."""

import json
import math
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from models_core.__main__ import main
from models_core.data.dataset import ImageFolder
from models_core.stylegan2 import Discriminator, Generator, checkpoint
from models_core.stylegan2.runs import generator_config
from models_core.training import stylegan2
from models_core.training.run import Run
from models_core.training.stylegan2 import (
    StyleGAN2Training,
    discriminator_loss,
    path_length_penalty,
    r1_penalty,
)

KWARGS = {"channel_base": 128, "channel_max": 8}


@pytest.fixture
def G() -> Generator:
    torch.manual_seed(0)
    synthesis = {**KWARGS, "use_noise": False}
    return Generator(8, 2, 8, 16, 3, {"num_layers": 2}, synthesis)


@pytest.fixture
def D() -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(2, 16, 3, **KWARGS)


class Linear(nn.Module):
    """D(x) = Σ a x, whose gradient by x is a for every image."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(1, 3, 4, 4))

    def forward(self, image, c):
        return (self.a * image).sum(dim=(1, 2, 3), keepdim=True).flatten(1)


def test_r1_is_half_the_squared_gradient():
    D = Linear()
    penalty = r1_penalty(D, torch.randn(5, 3, 4, 4), torch.zeros(5, 0))
    assert penalty.item() == pytest.approx(0.5 * D.a.square().sum().item(), rel=1e-5)
    penalty.backward()
    assert torch.allclose(D.a.grad, D.a, atol=1e-5)


def test_r1_agrees_with_finite_differences(D):
    D = D.double()
    torch.manual_seed(2)
    real, c = torch.randn(1, 3, 16, 16, dtype=torch.double), torch.eye(2, dtype=torch.double)[:1]
    # The mapping computes in float32 by design; its output is a constant here.
    D.mapping.register_forward_pre_hook(lambda module, args: None)
    D.mapping.float()
    x = real.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(D(x, c).sum(), x)
    direction = torch.randn_like(real)
    step = 1e-6
    slope = (D(real + step * direction, c) - D(real - step * direction, c)).item() / (2 * step)
    assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-4)
    expected = 0.5 * gradient.square().sum().item()
    assert r1_penalty(D, real, c).item() == pytest.approx(expected, rel=1e-6)


def test_penalties_reach_the_weights(G, D):
    c = torch.eye(2).repeat(2, 1)
    r1_penalty(D, torch.randn(4, 3, 16, 16), c).backward()
    assert D.b16.conv0.weight.grad.abs().sum() > 0
    penalty, _ = path_length_penalty(G, torch.randn(4, 8), c, torch.tensor(0.0))
    penalty.backward()
    for parameter in (G.synthesis.b8.conv0.weight, G.synthesis.b4.const, G.mapping.fc0.weight):
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


class LinearGenerator(nn.Module):
    """G with synthesis(w) = A w at 4x4: its Jacobian is A."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.randn(48, 6))
        self.layers = layers

    def mapping(self, z, c):
        return z.unsqueeze(1).repeat(1, self.layers, 1)

    def synthesis(self, ws):
        return (ws.sum(dim=1) @ self.A.t()).view(-1, 3, 4, 4)


def test_path_lengths_are_those_of_the_jacobian():
    """‖Jᵀy‖ over one layer's w, with y scaled by 1/√(H W), and the average moved by 1 %."""
    G = LinearGenerator(layers=3)
    z, c, mean = torch.randn(7, 6, requires_grad=True), torch.zeros(7, 0), torch.tensor(2.0)
    torch.manual_seed(3)
    penalty, new_mean = path_length_penalty(G, z, c, mean)
    torch.manual_seed(3)
    y = torch.randn(7, 48) / math.sqrt(16)
    lengths = (y @ G.A).norm(dim=1)  # the same for each of the three layers
    assert new_mean.item() == pytest.approx((mean * 0.99 + lengths.mean() * 0.01).item(), rel=1e-5)
    assert penalty.item() == pytest.approx((lengths - new_mean).square().mean().item(), rel=1e-4)
    assert not new_mean.requires_grad


def test_the_path_penalty_makes_lengths_alike():
    torch.manual_seed(4)
    G = LinearGenerator(layers=1)
    optimizer = torch.optim.Adam(G.parameters(), lr=0.05)
    mean, first, last = torch.tensor(0.0), None, None
    for _ in range(40):
        z = torch.randn(32, 6, requires_grad=True)
        penalty, mean = path_length_penalty(G, z, torch.zeros(32, 0), mean)
        optimizer.zero_grad()
        penalty.backward()
        optimizer.step()
        first, last = first or penalty.item(), penalty.item()
    assert last < 0.3 * first


def test_the_loss_of_d_is_the_logistic_one(D):
    c = torch.eye(2).repeat(2, 1)
    real, fake = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    loss, r_t = discriminator_loss(D, fake, c, real, c)
    on_real, on_fake = D(real, c), D(fake, c)
    expected = -(torch.sigmoid(on_real).log().mean() + (1 - torch.sigmoid(on_fake)).log().mean())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert r_t.item() == pytest.approx(on_real.sign().mean().item())


def test_the_warm_up_moves_g_alone_towards_the_drawings(recipe, data, tmp_path):
    recipe.write_text(recipe.read_text().replace("warmup_kimg = 0.06", "warmup_kimg = 9"))
    job = StyleGAN2Training(Run(tmp_path / "run", recipe), ImageFolder(data))
    before = {name: value.clone() for name, value in job.D.state_dict().items()}
    likeness = [job.take_step()["likeness"] for _ in range(60)]
    assert sum(likeness[-10:]) < 0.8 * sum(likeness[:10])
    assert_same(before, dict(job.D.state_dict()))
    assert job.G.mapping.w_avg.abs().sum() > 0


def test_the_recipe_s_network_is_the_checkpoint_s(recipe, data, tmp_path):
    job = StyleGAN2Training(Run(tmp_path / "run", recipe), ImageFolder(data))
    assert job.config == generator_config(job.run.recipe["network"], job.labels.shape[1])


def test_a_killed_run_resumes_to_the_same_weights(recipe, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill_at(recipe, killed, random.randint(8, 30))
    (killed / "checkpoint.part").write_bytes(b"half a checkpoint")
    kept = Run(killed, recipe).load()["step"]
    assert kept >= 7
    stylegan2.main(recipe, killed, steps=10)
    stylegan2.main(recipe, whole, steps=kept + 10)
    resumed, straight = Run(killed, recipe).load(), Run(whole, recipe).load()
    assert resumed["step"] == straight["step"] == kept + 10
    for name in ("G", "D", "G_ema", "G_opt", "D_opt", "pl_mean"):
        assert_same(resumed[name], straight[name])


def kill_at(recipe: Path, folder: Path, step: int) -> None:
    """Start training and kill it when it reports `step`: before, in or after a save."""
    command = [sys.executable, "-m", "models_core", "train", "stylegan2", recipe, "--run", folder]
    command += ["--threads", "1", "--steps", "100000"]  # it ends by the kill alone
    job = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    for line in job.stdout:
        if json.loads(line)["step"] >= step:
            job.send_signal(signal.SIGKILL)
            break
    assert job.wait() == -signal.SIGKILL


def assert_same(a, b) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_a_run_explains_itself_and_becomes_a_checkpoint(recipe, data, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "stylegan2", str(recipe), "--run", str(folder), "--steps", "20"]) == 0
    assert (folder / "recipe.toml").read_text() == recipe.read_text()
    log = [json.loads(line) for line in (folder / "log.jsonl").open()]
    assert [row["step"] for row in log] == list(range(1, 21))
    assert all(math.isfinite(value) for row in log for value in row.values())
    assert [("d_loss" in row) for row in log] == [False] * 15 + [True] * 5
    assert {"d_loss", "g_loss", "likeness", "r_t", "r1", "pl"} <= log[16].keys()
    assert [file.name for file in (folder / "samples").iterdir()] == ["00000.png"]

    rules = data.parent / "small.toml"
    arguments = ["convert", "stylegan2-run", str(folder), "--fp32", "--rules", str(rules)]
    assert main(arguments) == 0
    about = checkpoint.describe(folder / "generator")
    assert about.tags == ImageFolder(data).summary["tags"]
    assert about.rules[0]["when"] == {"beard": ["full beard"]}
    ema = Run(folder, recipe).load()["G_ema"]
    assert_same(dict(checkpoint.load(folder / "generator").state_dict()), dict(ema))


def test_what_is_no_run_is_told(tmp_path, capsys):
    assert main(["convert", "stylegan2-run", str(tmp_path)]) == 2
    assert "is not a training run" in capsys.readouterr().err
    (tmp_path / "recipe.toml").write_text("[network]\n")
    assert main(["convert", "stylegan2-run", str(tmp_path)]) == 2
    assert "holds no snapshots" in capsys.readouterr().err
