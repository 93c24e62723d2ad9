"""StyleGAN2 checkpoints of NVIDIA's and rosinality's trainers: same pictures before and after."""

import io
import json
import math
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from models_core.__main__ import main
from models_core.formats.convert import MEAN_SAMPLES, convert
from models_core.formats.inspection import inspect
from models_core.formats.stylegan2 import discriminator_shapes, generator_shapes
from models_core.formats.verdicts import Incompatible
from models_core.stylegan2 import Discriminator, Generator, checkpoint
from tests.models_core.formats import foreign

REFERENCE = Path(__file__).parents[1] / "stylegan2" / "reference"


def drawn(G: Generator, c: torch.Tensor | None = None, psi: float = 0.7) -> torch.Tensor:
    z = torch.randn(4, G.z_dim, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return G(z, c, truncation_psi=psi, noise_mode="const")


def opened_discriminator(folder: Path) -> Discriminator:
    D = Discriminator(**json.loads((folder / "config.json").read_text())["discriminator"])
    D.load_state_dict(load_file(folder / "model.safetensors"))
    return D.eval()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_snapshot_of_nvidias_becomes_ours_and_nothing_of_it_runs(
    make_G, make_D, tmp_path, nothing_runs, protocol
):
    G, D = make_G(3, lr_multiplier=0.1), make_D(3, conv_clamp=2.0, mbstd_group_size=2)
    file, canary = tmp_path / "network-snapshot.pkl", tmp_path / "canary"
    file.write_bytes(foreign.snapshot(G, D, str(canary), protocol=protocol))

    with nothing_runs():
        report = inspect(file)
    assert report["state"] == "ready"
    assert report["kind"] == "stylegan2"
    assert report["resolution"] == 16
    assert report["conditioning"] == {"label": 3}
    assert report["dtype"] == "float32"
    assert report["parameters"] == sum(v.numel() for v in G.state_dict().values())
    assert report["trained_on"]["class_name"] == "training.dataset.ImageFolderDataset"

    convert(file, tmp_path / "ours")
    assert not canary.exists()
    c = torch.eye(3)[[0, 1, 2, 0]]
    ours = checkpoint.load(tmp_path / "ours")
    assert torch.equal(drawn(ours, c), drawn(G, c))
    x = drawn(G, c)
    judge = opened_discriminator(tmp_path / "ours" / "discriminator")
    assert torch.equal(judge(x, c), D(x, c))


@pytest.mark.parametrize("pair", ["uncond_skip_32", "cond3_skip_16"])
def test_recorded_outputs_of_the_original_come_back(pair, tmp_path):
    arrays = np.load(REFERENCE / f"{pair}.npz")
    config = json.loads((REFERENCE / f"{pair}.json").read_text())
    networks = Generator(**config["generator"]), Discriminator(**config["discriminator"])
    for network, prefix in zip(networks, ("G/", "D/"), strict=True):
        state = {n[2:]: torch.from_numpy(arrays[n]) for n in arrays.files if n.startswith(prefix)}
        network.load_state_dict(state)
    (tmp_path / "n.pkl").write_bytes(foreign.snapshot(*networks, str(tmp_path / "canary")))
    convert(tmp_path / "n.pkl", tmp_path / "ours")
    ours = checkpoint.load(tmp_path / "ours")
    z, c = torch.from_numpy(arrays["z"]), torch.from_numpy(arrays["c"])
    image = ours(z, c, noise_mode="const")
    assert np.abs(image.numpy() - arrays["image_const_noise"]).max() < 1e-4
    judge = opened_discriminator(tmp_path / "ours" / "discriminator")
    recorded = torch.from_numpy(arrays["image_const_noise"])
    assert np.abs(judge(recorded, c).detach().numpy() - arrays["logits"]).max() < 1e-4


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_checkpoint_of_rosinalitys_becomes_ours(make_G, make_D, tmp_path, legacy, nothing_runs):
    G, D = make_G(), make_D()
    foreign.rosinality(G, D, tmp_path / "550000.pt", legacy=legacy)
    with nothing_runs():
        assert inspect(tmp_path / "550000.pt")["architecture"] == "rosinality StyleGAN2 checkpoint"
    convert(tmp_path / "550000.pt", tmp_path / "ours")
    assert torch.equal(drawn(checkpoint.load(tmp_path / "ours")), drawn(G))
    x = drawn(G)
    assert torch.equal(opened_discriminator(tmp_path / "ours" / "discriminator")(x), D(x))


def test_a_mean_that_rosinalitys_file_lacks_is_estimated(make_G, tmp_path):
    G = make_G()
    foreign.rosinality(G, None, tmp_path / "g.pt", mean=False)
    convert(tmp_path / "g.pt", tmp_path / "ours")
    ours = checkpoint.load(tmp_path / "ours")
    assert torch.equal(drawn(ours, psi=1), drawn(G, psi=1))
    w = G.mapping(torch.randn(MEAN_SAMPLES, 8))[:, 0]
    error = 2 * w.std(0) / math.sqrt(MEAN_SAMPLES)  # of the difference of two estimates
    assert ((ours.mapping.w_avg - w.mean(0)).abs() < 4 * error).all()


def test_rosinalitys_layers_compute_what_ours_do(make_G):
    """Its generator as its repository describes it, written out on a state of its shape."""
    G = make_G()
    z = torch.randn(3, 8)
    with torch.no_grad():
        theirs = rosinality_forward(foreign.rosinality_generator(G), z)
        ours = G(z, noise_mode="const")
    assert (theirs - ours).abs().max() < 1e-5 * ours.abs().max()


def rosinality_forward(state: dict[str, torch.Tensor], z: torch.Tensor) -> torch.Tensor:
    def linear(x, name, lr_mul=1.0):
        weight = state[f"{name}.weight"]
        return F.linear(
            x, weight * lr_mul / math.sqrt(weight.shape[1]), state[f"{name}.bias"] * lr_mul
        )

    def activated(x):
        return F.leaky_relu(x, 0.2) * math.sqrt(2)

    def blurred(x, kernel, before, after):
        x = F.pad(x, (before, after, before, after))
        channels = x.shape[1]
        return F.conv2d(x, kernel.flip(0, 1).expand(channels, 1, 4, 4), groups=channels)

    def convolved(x, w, name, demodulate=True):
        style = linear(w, f"{name}.modulation")
        kernel = state[f"{name}.weight"]
        weight = kernel / math.sqrt(kernel[0, 0].numel()) * style[:, None, :, None, None]
        if demodulate:
            weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        rows = []
        for sample, own in zip(x, weight, strict=True):
            if f"{name}.blur.kernel" in state:
                y = F.conv_transpose2d(sample[None], own.transpose(0, 1), stride=2)
                rows.append(blurred(y, state[f"{name}.blur.kernel"], 1, 1))
            else:
                rows.append(F.conv2d(sample[None], own, padding=own.shape[-1] // 2))
        return torch.cat(rows)

    def styled(x, w, name, noise):
        x = convolved(x, w, f"{name}.conv")
        x = x + state[f"{name}.noise.weight"] * state[f"noises.noise_{noise}"]
        return activated(x + state[f"{name}.activate.bias"].view(1, -1, 1, 1))

    def to_rgb(x, w, name, skip):
        x = convolved(x, w, f"{name}.conv", demodulate=False) + state[f"{name}.bias"]
        if skip is None:
            return x
        spread = torch.zeros(*skip.shape[:2], 2 * skip.shape[2], 2 * skip.shape[3])
        spread[:, :, ::2, ::2] = skip
        return x + blurred(spread, state[f"{name}.upsample.kernel"], 2, 1)

    w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
    for layer in range(1, 3):
        w = activated(linear(w, f"style.{layer}", lr_mul=0.01))
    x = styled(state["input.input"].repeat(len(z), 1, 1, 1), w, "conv1", 0)
    image = to_rgb(x, w, "to_rgb1", None)
    for block in range(2):
        x = styled(x, w, f"convs.{2 * block}", 2 * block + 1)
        x = styled(x, w, f"convs.{2 * block + 1}", 2 * block + 2)
        image = to_rgb(x, w, f"to_rgbs.{block}", image)
    return image


@pytest.mark.parametrize("c_dim", [0, 3])
@pytest.mark.parametrize("use_noise", [True, False])
def test_expected_shapes_are_the_networks_own(c_dim, use_noise):
    config = {
        "z_dim": 8,
        "c_dim": c_dim,
        "w_dim": 12,
        "img_resolution": 32,
        "img_channels": 3,
        "mapping_kwargs": {"num_layers": 3},
        "synthesis_kwargs": {"channel_base": 256, "channel_max": 20, "use_noise": use_noise},
    }
    state = Generator(**config).state_dict()
    assert dict(generator_shapes(config)) == {n: tuple(v.shape) for n, v in state.items()}
    config = {"c_dim": c_dim, "img_resolution": 32, "img_channels": 3}
    config |= {"channel_base": 256, "channel_max": 20}
    state = Discriminator(**config).state_dict()
    assert dict(discriminator_shapes(config)) == {n: tuple(v.shape) for n, v in state.items()}


def test_networks_that_do_not_fit_ours_are_incompatible(make_G, make_D, tmp_path):
    G = make_G()
    del G.synthesis.b8.conv1.bias
    (tmp_path / "n.pkl").write_bytes(foreign.snapshot(G, make_D(), str(tmp_path / "canary")))
    report = inspect(tmp_path / "n.pkl")
    assert report["state"] == "incompatible"
    assert "lacks 1 tensors, such as synthesis.b8.conv1.bias" in report["reason"]
    with pytest.raises(Incompatible):
        convert(tmp_path / "n.pkl", tmp_path / "ours")
    assert [path.name for path in tmp_path.iterdir()] == ["n.pkl"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("to_rgbs.1.bias"), "lacks 1 tensors, such as to_rgbs.1.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 tensors too many, such as extra"),
        (lambda s: s.update({"to_rgb1.bias": torch.zeros(1, 4, 1, 1)}), r"is \[1, 4, 1, 1\]"),
    ],
)
def test_a_rosinality_state_that_does_not_fit(make_G, tmp_path, change, says):
    state = foreign.rosinality_generator(make_G())
    change(state)
    torch.save({"g_ema": state}, tmp_path / "g.pt")
    with pytest.raises(Incompatible, match=says):
        convert(tmp_path / "g.pt", tmp_path / "ours")


def test_the_tensorflow_version_is_named(tmp_path):
    module = types.ModuleType("dnnlib.tflib.network")

    class Network:
        __module__, __qualname__ = "dnnlib.tflib.network", "Network"

        def __init__(self) -> None:
            self.static_kwargs, self.variables = {}, [("x", np.ones(3))]

    module.Network = Network
    sys.modules[module.__name__] = module
    sys.modules["dnnlib.tflib"] = sys.modules["dnnlib"] = types.ModuleType("dnnlib")
    try:
        (tmp_path / "tf.pkl").write_bytes(pickle.dumps((Network(), Network(), Network())))
    finally:
        for name in ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network"):
            del sys.modules[name]
    report = inspect(tmp_path / "tf.pkl")
    assert report["state"] == "unsupported"
    assert "TensorFlow" in report["reason"]
    assert "legacy.py" in report["reason"]


def test_other_generations_are_named(make_G, make_D, tmp_path):
    G = make_G()
    G.synthesis = torch.nn.ModuleDict({"L0_36_512": torch.nn.Linear(2, 2)})
    (tmp_path / "n.pkl").write_bytes(foreign.snapshot(G, make_D(), str(tmp_path / "canary")))
    report = inspect(tmp_path / "n.pkl")
    assert report["state"] == "unsupported"
    assert report["what"] == "a StyleGAN3 network"
    assert any("StyleGAN2-ADA" in kind for kind in report["accepted"])


def test_the_commands(make_G, make_D, tmp_path, capsys):
    file = tmp_path / "n.pkl"
    file.write_bytes(foreign.snapshot(make_G(), make_D(), str(tmp_path / "canary")))
    assert main(["inspect", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "ready"
    assert main(["inspect", str(file), "--kind", "lora", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["state"] == "incompatible"
    assert (
        main(["convert", "checkpoint", str(file), "--out", str(tmp_path / "ours"), "--half"]) == 0
    )
    assert checkpoint.load(tmp_path / "ours").img_resolution == 16
    assert main(["convert", "checkpoint", str(file), "--out", str(tmp_path / "ours")]) == 2
    assert "exists already" in capsys.readouterr().err
    file.write_bytes(pickle.dumps(io.BytesIO))
    assert main(["convert", "checkpoint", str(file), "--out", str(tmp_path / "no")]) == 1
    assert "_io.BytesIO" in capsys.readouterr().out
    assert not (tmp_path / "no").exists()
    assert main(["inspect", str(tmp_path / "none")]) == 2
