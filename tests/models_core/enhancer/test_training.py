"""The whole chain of training at tiny size: autoencoder → base → StyleDiffuser, each resumed."""

import json
from pathlib import Path

import pytest
import torch

from models_core.training import autoencoder, stylediffuser, unet
from models_core.training.diffusion import ForwardProcess
from models_core.training.run import Run


@pytest.mark.parametrize(
    ("loop", "folder", "recipe"),
    [
        (autoencoder, "vae", "vae.toml"),
        (unet, "unet", "unet.toml"),
        (stylediffuser, "style", "style.toml"),
    ],
    ids=["autoencoder", "unet", "stylediffuser"],
)
def test_stopped_and_resumed_it_ends_with_the_same_state(chain, tmp_path, loop, folder, recipe):
    loop.main(chain / recipe, tmp_path / "run", steps=3)
    loop.main(chain / recipe, tmp_path / "run", steps=3)
    whole = Run(chain / folder, chain / recipe).load()
    resumed = Run(tmp_path / "run", chain / recipe).load()
    assert whole["step"] == resumed["step"] == 6
    assert_same(whole, resumed)


def assert_same(a, b):
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_a_run_explains_itself(chain):
    log = [json.loads(line) for line in (chain / "style" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 6
    assert log[-1]["loss"] > 0
    assert (chain / "style" / "recipe.toml").exists()
    assert list((chain / "style" / "samples").glob("*.png"))


def test_training_moves_adapter_and_lora_and_nothing_else(chain):
    from safetensors.torch import load_file

    adapter = load_file(
        chain / "style" / "export" / "adapter" / "diffusion_pytorch_model.safetensors"
    )
    assert any(v.any() for k, v in adapter.items() if k.endswith("to_v.weight"))
    lora = load_file(chain / "style" / "export" / "lora" / "pytorch_lora_weights.safetensors")
    assert any(v.any() for k, v in lora.items() if "lora_B" in k)


def test_the_exported_pipeline_has_the_lora_fused_and_draws(chain):
    from models_core.stylediffuser.pipeline import StyleDiffuserPipeline

    pipe = StyleDiffuserPipeline.from_pretrained(
        chain / "style" / "export" / "pipeline", local_files_only=True
    )
    base = unet_weights(chain / "unet" / "export" / "unet")
    fused = pipe.unet.state_dict()
    assert fused.keys() == base.keys()
    assert any((fused[key] != base[key]).any() for key in base if "to_q" in key)
    assert pipe([1], [["pink hair"]], steps=2).images[0].size == (32, 32)


def unet_weights(folder: Path) -> dict:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder, local_files_only=True).state_dict()


def test_the_forward_process_keeps_variance_and_weighs_by_snr():
    alphas = torch.linspace(0.999, 0.01, 1000)
    process = ForwardProcess(alphas, min_snr_gamma=5.0)
    z, noise = torch.randn(2000, 1, 4, 4), torch.randn(2000, 1, 4, 4)
    noised = process.add_noise(z, noise, torch.full((2000,), 500))
    assert abs(noised.var().item() - 1) < 0.05
    early, late = torch.tensor([0]), torch.tensor([999])
    error = torch.ones(1, 1, 4, 4)
    zero = torch.zeros_like(error)
    assert process.loss(error, zero, early).item() == pytest.approx(5 / (0.999 / 0.001), rel=1e-3)
    assert process.loss(error, zero, late).item() == pytest.approx(1.0)
