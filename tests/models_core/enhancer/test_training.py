"""The whole chain of training at tiny size: autoencoder → base → StyleDiffuser, each resumed."""

import json
from pathlib import Path

import pytest
import torch

from models_core.data.dataset import ImageFolder, to_tensor
from models_core.enhancer.components import build_scheduler
from models_core.training import autoencoder, lora, stylediffuser, unet
from models_core.training.diffusion import ForwardProcess
from models_core.training.pairs import Pairs
from models_core.training.run import Run
from models_core.training.stylediffuser import StyleDiffuserTraining
from models_core.training.unet import UNetTraining
from tests.models_core.enhancer.conftest import write_stylediffuser


@pytest.mark.parametrize(
    ("loop", "folder", "recipe"),
    [
        (autoencoder, "vae", "vae.toml"),
        (unet, "unet", "unet.toml"),
        (lora, "lora", "lora.toml"),
        (stylediffuser, "style", "style.toml"),
    ],
    ids=["autoencoder", "unet", "lora", "stylediffuser"],
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


class OffsetEncoder:
    """w's that tell which picture they are of."""

    def __init__(self, prototype) -> None:
        self.shape = (prototype.G.num_ws, prototype.G.w_dim)

    def encode(self, images):
        return images.mean(dim=(1, 2, 3)).view(-1, 1, 1).expand(-1, *self.shape)


def test_pairs_come_from_the_encoder_where_there_is_one(chain, tmp_path):
    recipe = write_stylediffuser(chain, tmp_path / "style.toml", limit=8)
    by_label = StyleDiffuserTraining(Run(tmp_path / "label", recipe))
    encoder = OffsetEncoder(by_label.prototype)
    job = StyleDiffuserTraining(Run(tmp_path / "encoder", recipe), encoder)
    index, order = [3, 5], torch.Generator
    ws = job.pairs.ws(index, order().manual_seed(1))
    pixels = to_tensor(ImageFolder(chain / "data").pixels("crop", 16)[:8])
    assert torch.allclose(ws, encoder.encode(pixels[index]), atol=1e-6)
    assert job.take_step()["loss"] > 0
    job.pairs.share = 0.0
    torch.manual_seed(0)
    without = job.pairs.ws(index, order().manual_seed(1))
    torch.manual_seed(0)
    assert torch.equal(without, by_label.pairs.ws(index, order().manual_seed(1)))
    with pytest.raises(ValueError, match="truncation must be"):
        Pairs(job.prototype, ImageFolder(chain / "data"), tmp_path / "ws", truncation=[1.0, 0.5])
    encoder.shape = (2, 2)
    with pytest.raises(ValueError, match="train an encoder for this prototype"):
        StyleDiffuserTraining(Run(tmp_path / "other", recipe), encoder)


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
    process = ForwardProcess(build_scheduler(), min_snr_gamma=5.0)
    process.alphas_cumprod = torch.linspace(0.999, 0.01, 1000)
    z, noise = torch.randn(2000, 1, 4, 4), torch.randn(2000, 1, 4, 4)
    noised = process.add_noise(z, noise, torch.full((2000,), 500))
    assert abs(noised.var().item() - 1) < 0.05
    early, late = torch.tensor([0]), torch.tensor([999])
    error = torch.ones(1, 1, 4, 4)
    zero = torch.zeros_like(error)
    assert process.loss(error, zero, early).item() == pytest.approx(5 / (0.999 / 0.001), rel=1e-3)
    assert process.loss(error, zero, late).item() == pytest.approx(1.0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_costs_nothing_and_leads_back_to_the_clean_picture(prediction):
    scheduler = build_scheduler("cosine")
    scheduler.register_to_config(prediction_type=prediction)
    process = ForwardProcess(scheduler)
    clean, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    t = torch.tensor([1, 400, 800])
    z_t = process.add_noise(clean, noise, t)
    assert torch.allclose(process.noise_towards(clean, z_t, t), noise, atol=1e-3)
    target = process.target(clean, noise, t)
    assert process.loss(target, target, t).item() == 0
    scheduler.set_timesteps(timesteps=[800])
    sigma = scheduler.sigmas[0]
    back = scheduler.step(target[2:], scheduler.timesteps[0], z_t[2:] * (1 + sigma**2).sqrt())
    assert torch.allclose(back.pred_original_sample, clean[2:], atol=1e-2)


def test_the_cosine_schedule_destroys_more_slowly_and_others_are_refused():
    assert build_scheduler("cosine").alphas_cumprod[500] > build_scheduler().alphas_cumprod[500]
    with pytest.raises(ValueError, match="scaled_linear, cosine, not 'sigmoid'"):
        build_scheduler("sigmoid")


def test_bf16_trains_in_float32_weights_and_comes_near_the_same_loss(chain, tmp_path):
    recipe = chain / "unet.toml"
    half = tmp_path / "half.toml"
    half.write_text(recipe.read_text().replace("fp32", "bf16"))
    exact = UNetTraining(Run(tmp_path / "exact", recipe)).take_step()["loss"]
    job = UNetTraining(Run(tmp_path / "half", half))
    assert job.take_step()["loss"] == pytest.approx(exact, rel=0.02)
    assert {p.dtype for p in job.unet.parameters()} == {torch.float32}
    half.write_text(half.read_text().replace("bf16", "fp8"))
    with pytest.raises(ValueError, match="precision is one of fp32, bf16"):
        UNetTraining(Run(tmp_path / "eighth", half)).take_step()
