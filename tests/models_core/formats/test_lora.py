"""LoRA files in three namings: recognised, described, and of the same effect after conversion."""

import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from models_core.enhancer.lora import fuse_loras
from models_core.formats.convert import convert
from models_core.formats.inspection import inspect
from models_core.formats.lora import unify
from tests.models_core.formats.hostile import zipped

RANK, ALPHA, TEXT = 4, 6.0, 16
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1", "time_emb_proj"]


@pytest.fixture(scope="module")
def unet() -> UNet2DConditionModel:
    return make_unet()


def make_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


def drawn(unet) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x, text = torch.randn(1, 4, 8, 8, generator=generator), torch.randn(1, 3, TEXT)
    torch.manual_seed(2)
    with torch.no_grad():
        return unet(x, 5, torch.ones_like(text)).sample


@pytest.fixture(scope="module")
def adapted(unet) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """The adapter's weights in peft's names, and what the adapted U-Net gives."""
    plain = drawn(unet)
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS))
    torch.manual_seed(3)
    for name, value in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.5)
    state = {n: v.clone() for n, v in get_peft_model_state_dict(unet).items()}
    image = drawn(unet)
    unet.delete_adapters("default")
    assert torch.equal(drawn(unet), plain)
    assert (image - plain).abs().max() > 0.1
    return state, image


def modules(state):
    for name in state:
        if name.endswith(".lora_A.weight"):
            module = name.removesuffix(".lora_A.weight")
            yield module, state[name], state[f"{module}.lora_B.weight"]


def kohya(state):
    for module, down, up in modules(state):
        name = "lora_unet_" + module.replace(".", "_")
        yield from ((f"{name}.lora_down.weight", down), (f"{name}.lora_up.weight", up))
        yield f"{name}.alpha", torch.tensor(ALPHA).half()


def diffusers_old(state):
    for module, down, up in modules(state):
        yield from (
            (f"unet.{module}.lora.down.weight", down),
            (f"unet.{module}.lora.up.weight", up),
        )
        yield f"unet.{module}.alpha", torch.tensor(ALPHA)


METADATA = {
    "ss_network_dim": "4",
    "ss_network_alpha": "6.0",
    "ss_base_model_version": "sd_v1",
    "ss_sd_model_name": "v1-5.safetensors",
    "ss_learning_rate": "0.0001",
    "ss_tag_frequency": json.dumps({"10_patchouli": {"purple hair": 9, "hat": 4, "1girl": 10}}),
    "modelspec.license": "CC BY 4.0",
    "modelspec.trigger_phrase": "patchouli knowledge",
    "modelspec.author": "somebody",
}


def written(naming: str, state, tmp_path):
    file = tmp_path / "lora.bin"
    if naming == "kohya":
        save_file(dict(kohya(state)), file, METADATA)
    elif naming == "diffusers":
        save_file(dict(diffusers_old(state)), file)
    elif naming == "diffusers of today":
        notes = {"unet.lora_alpha": ALPHA, "unet.r": RANK}
        prefixed = {f"unet.{name}": value for name, value in state.items()}
        save_file(prefixed, file, {"lora_adapter_metadata": json.dumps(notes)})
    else:
        save_file({f"base_model.model.{n}": v for n, v in state.items()}, tmp_path / "w")
        config = json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}).encode()
        weights = (tmp_path / "w").read_bytes()
        content = {"adapter_config.json": config, "adapter_model.safetensors": weights}
        file.write_bytes(zipped(content))
    return file


@pytest.mark.parametrize("naming", ["kohya", "diffusers", "diffusers of today", "peft"])
def test_every_naming_has_the_same_effect_after_conversion(
    naming, adapted, unet, tmp_path, nothing_runs
):
    state, expected = adapted
    file = written(naming, state, tmp_path)
    with nothing_runs():
        report = inspect(file)
    assert report["state"] == "ready", report
    assert report["kind"] == "lora"
    assert (report["rank"], report["alpha"]) == (RANK, ALPHA)
    assert report["components"] == ["unet"]
    assert report["conditioning"] == {"text": TEXT}
    assert report["channels"] == {"down_blocks.0": 8, "down_blocks.1": 8, "mid_block": 8} | {
        "up_blocks.0": 8,
        "up_blocks.1": 8,
    }
    assert set(report["targets"]) >= {"to_q", "to_k", "to_v", "to_out", "conv1", "proj"}

    convert(file, tmp_path / "ours")
    ours = load_file(tmp_path / "ours" / "pytorch_lora_weights.safetensors")
    assert ours.keys() == {f"unet.{name}" for name in state}
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(ours, None, unet)
    image = drawn(unet)
    unet.delete_adapters("default_0")
    assert (image - expected).abs().max() < 1e-5
    fused = make_unet()
    fuse_loras({"unet": fused}, [(tmp_path / "ours", 1.0)])
    assert (drawn(fused) - expected).abs().max() < 1e-5
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert (config["kind"], config["rank"]) == ("lora", RANK)


def test_pefts_settings_for_alpha(tmp_path):
    pairs = {}
    for module in ("a.to_q", "b.to_q"):
        pairs[f"base_model.model.{module}.lora_A.weight"] = torch.ones(4, 8)
        pairs[f"base_model.model.{module}.lora_B.weight"] = torch.ones(8, 4)
    save_file(pairs, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"b.to_q": 2}}
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "use_rslora": True}))
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "lora.zip").write_bytes(zipped(content))
    convert(tmp_path / "lora.zip", tmp_path / "ours")
    ours = load_file(tmp_path / "ours" / "pytorch_lora_weights.safetensors")
    assert ours["unet.a.to_q.lora_B.weight"][0, 0] == 8 / 4**0.5
    assert ours["unet.b.to_q.lora_B.weight"][0, 0] == 2 / 4**0.5


def test_what_kohya_noted_is_told(adapted, tmp_path):
    report = inspect(written("kohya", adapted[0], tmp_path))
    assert report["naming"] == "kohya"
    assert report["trigger_words"] == [
        *("patchouli knowledge", "patchouli", "1girl", "purple hair", "hat")
    ]
    assert report["training"]["sd_model_name"] == "v1-5.safetensors"
    assert report["training"]["learning_rate"] == "0.0001"
    assert report["licence"] == "CC BY 4.0"
    assert report["metadata"]["author"] == "somebody"
    assert report["family"] is None, "16 text channels are no Stable Diffusion's"


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2")])
def test_the_family_is_told_by_the_text_it_reads(width, family, tmp_path):
    module = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
    state = {f"{module}.lora_A.weight": torch.ones(2, width)}
    state[f"{module}.lora_B.weight"] = torch.ones(8, 2)
    save_file(state, tmp_path / "l")
    assert inspect(tmp_path / "l")["family"] == family


@pytest.mark.parametrize(
    ("module", "path"),
    [
        (
            "down_blocks_0_attentions_1_transformer_blocks_0_attn1_to_out_0",
            "unet.down_blocks.0.attentions.1.transformer_blocks.0.attn1.to_out.0",
        ),
        ("up_blocks_1_resnets_2_conv_shortcut", "unet.up_blocks.1.resnets.2.conv_shortcut"),
        ("mid_block_resnets_0_time_emb_proj", "unet.mid_block.resnets.0.time_emb_proj"),
        ("down_blocks_0_downsamplers_0_conv", "unet.down_blocks.0.downsamplers.0.conv"),
    ],
)
def test_kohyas_underscores(module, path):
    assert unify(module, "unet") == path
    text = "text_model_encoder_layers_11_self_attn_q_proj"
    assert unify(text, "te") == "text_encoder.text_model.encoder.layers.11.self_attn.q_proj"


A, B = torch.ones(2, 8), torch.ones(8, 2)
REFUSED = {
    "an alpha that is no number": (
        {
            "unet.x.lora.down.weight": A,
            "unet.x.lora.up.weight": B,
            "unet.x.alpha": torch.tensor(float("nan")),
        },
        "incompatible",
        "alpha of unet.x is nan",
    ),
    "half a pair": ({"unet.x.lora_A.weight": A}, "incompatible", "lacks its up matrix"),
    "ranks differ": (
        {"unet.x.lora_A.weight": A, "unet.x.lora_B.weight": torch.ones(8, 3)},
        "incompatible",
        "do not fit",
    ),
    "two namings": (
        {
            "unet.x.lora_A.weight": A,
            "unet.x.lora_B.weight": B,
            "unet.y.lora.down.weight": A,
            "unet.y.lora.up.weight": B,
        },
        "incompatible",
        "mixes the namings",
    ),
    "something else": ({"unet.x.lora_A.weight": A, "y": B}, "incompatible", "no part of a LoRA"),
    "XL by its text encoders": ({"lora_te2_x.lora_down.weight": A}, "unsupported", "XL"),
    "XL by its width": (
        {
            "unet.attn2.to_k.lora_A.weight": torch.ones(2, 2048),
            "unet.attn2.to_k.lora_B.weight": B,
        },
        "unsupported",
        "XL",
    ),
    "LoHa": ({"lora_unet_x.hada_w1_a": A}, "unsupported", "LoHa"),
    "DoRA": ({"unet.x.lora_A.weight": A, "unet.x.dora_scale": B}, "unsupported", "DoRA"),
    "Flux": ({"lora_unet_double_blocks_0.lora_down.weight": A}, "unsupported", "Flux"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_lora_for_stable_diffusion_is_named(case, tmp_path):
    state, verdict, says = REFUSED[case]
    save_file({name: value.clone() for name, value in state.items()}, tmp_path / "l")
    report = inspect(tmp_path / "l")
    assert (report["state"], says in report["reason"]) == (verdict, True), report
