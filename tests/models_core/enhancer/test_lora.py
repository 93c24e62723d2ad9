"""LoRA files of others, in each of the namings they come in."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from models_core.enhancer.checkpoint import Enhancer, load_enhancer
from models_core.enhancer.components import (
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_unet,
)
from models_core.enhancer.lora import LoraError, fuse_loras
from models_core.enhancer.sampling import draw
from tests.models_core.stylediffuser.conftest import make_vae

RANK, ALPHA = 2, 6.0
ONES = torch.ones(2, 2)
LAYERS = {
    "unet": [
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0",
        "down_blocks.1.attentions.0.proj_in",
        "up_blocks.0.resnets.0.conv1",
    ],
    "text_encoder": ["encoder.layers.0.self_attn.v_proj", "encoder.layers.0.mlp.fc1"],
}


def make_enhancer() -> Enhancer:
    torch.manual_seed(0)
    text = {"width": 16, "layers": 1, "heads": 2, "max_length": 8}
    net = {"latent_size": 8, "channels": [8, 16], "attention": [False, True], "layers": 1}
    tokenizer = build_tokenizer(["pink hair"], text["max_length"])
    unet = build_unet({**net, "head_dim": 8, "groups": 4}, 4, text["width"])
    encoder = build_text_encoder(len(tokenizer), text)
    parts = Enhancer(unet, make_vae(), encoder, tokenizer, build_scheduler())
    for module in parts.modules():
        module.requires_grad_(False).eval()
    return parts


def components(enhancer: Enhancer) -> dict:
    return {"unet": enhancer.unet, "text_encoder": enhancer.text_encoder}


def pairs(enhancer: Enhancer, seed: int = 1) -> dict[tuple[str, str], tuple]:
    """(component, layer) → (A, B), in the shapes of the layers."""
    dice = torch.Generator().manual_seed(seed)
    out = {}
    for component, layers in LAYERS.items():
        for layer in layers:
            shape = components(enhancer)[component].get_submodule(layer).weight.shape
            down = torch.randn(RANK, *shape[1:], generator=dice)
            up = torch.randn(shape[0], RANK, *[1] * (len(shape) - 2), generator=dice)
            out[component, layer] = (down, up)
    return out


def by_hand(enhancer: Enhancer, weight: float, alpha: float = ALPHA, seed: int = 1) -> None:
    for (component, layer), (down, up) in pairs(enhancer, seed).items():
        target = components(enhancer)[component].get_submodule(layer).weight
        change = (up.flatten(1) @ down.flatten(1)).view_as(target)
        target.data += weight * alpha / RANK * change


def kohya(folder, made) -> None:
    state = {}
    for (component, layer), (down, up) in made.items():
        prefix, wrap = ("lora_unet_", "") if component == "unet" else ("lora_te_", "text_model.")
        name = prefix + f"{wrap}{layer}".replace(".", "_")
        if layer.endswith("proj_in"):  # kohya keeps some 1×1 convolutions as matrices
            down, up = down.flatten(1), up.flatten(1)
        state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        state[f"{name}.alpha"] = torch.tensor(ALPHA)
    save_file(state, folder / "lora.safetensors")


def diffusers_old(folder, made) -> None:
    """These state no alpha."""
    state = {}
    for (component, layer), (down, up) in made.items():
        name = f"{component}.{'text_model.' if component == 'text_encoder' else ''}{layer}"
        place = name.removesuffix(".0")
        if "attn1" in place or "attn2" in place:
            stem, _, own = place.rpartition(".")
            place = f"{stem}.processor.{own}_lora"
        elif "self_attn" in place:
            place = place.replace("v_proj", "to_v_lora")
        else:
            place += ".lora_linear_layer" if "mlp" in place else ".lora"
        state |= {f"{place}.down.weight": down, f"{place}.up.weight": up}
    save_file(state, folder / "pytorch_lora_weights.safetensors")


def diffusers_new(folder, made) -> None:
    state = {}
    for (component, layer), (down, up) in made.items():
        state[f"{component}.{layer}.lora_A.weight"] = down
        state[f"{component}.{layer}.lora_B.weight"] = up
    stated = {f"{c}.{k}": v for c in LAYERS for k, v in (("r", RANK), ("lora_alpha", ALPHA))}
    metadata = {"lora_adapter_metadata": json.dumps(stated)}
    save_file(state, folder / "pytorch_lora_weights.safetensors", metadata=metadata)


def peft(folder, made) -> None:
    state = {}
    for (_, layer), (down, up) in made.items():
        state[f"base_model.model.{layer}.lora_A.weight"] = down
        state[f"base_model.model.{layer}.lora_B.weight"] = up
    save_file(state, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA}))


def weights(enhancer: Enhancer) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, module in components(enhancer).items()
        for key, value in module.state_dict().items()
    }


def same(a: dict, b: dict, atol: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[k], b[k], rtol=0, atol=atol) for k in a)


@pytest.mark.parametrize("write", [kohya, diffusers_old, diffusers_new, peft])
@pytest.mark.parametrize("weight", [1.0, -0.5])
def test_each_naming_adds_what_it_says_with_its_weight(tmp_path, write, weight):
    enhancer, expected = make_enhancer(), make_enhancer()
    write(tmp_path, pairs(enhancer))
    path = tmp_path / "lora.safetensors" if write is kohya else tmp_path
    (report,) = fuse_loras(components(enhancer), [(path, weight)])
    by_hand(expected, weight, alpha=RANK if write is diffusers_old else ALPHA)
    assert same(weights(enhancer), weights(expected), atol=1e-5)
    assert sorted(report.applied) == sorted(f"{c}.{n}" for c, ns in LAYERS.items() for n in ns)
    assert report.failed == []
    assert not any("lora" in name for name, _ in enhancer.unet.named_modules())


def test_an_applied_one_changes_the_picture_and_weight_0_does_not(tmp_path):
    enhancer = make_enhancer()
    diffusers_new(tmp_path, pairs(enhancer))
    plain = draw(enhancer, ["pink hair"], [1], steps=2)
    fuse_loras(components(enhancer), [(tmp_path, 0.0)])
    assert torch.equal(draw(enhancer, ["pink hair"], [1], steps=2), plain)
    fuse_loras(components(enhancer), [(tmp_path, 0.5)])
    assert not torch.allclose(draw(enhancer, ["pink hair"], [1], steps=2), plain, atol=1e-2)


def test_several_add_up_at_load(tmp_path):
    enhancer = make_enhancer()
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        diffusers_new(tmp_path / str(seed), pairs(enhancer, seed))
    enhancer.save(tmp_path / "base")
    loras = [(tmp_path / "1", 0.7), (tmp_path / "2", 0.4)]
    loaded = load_enhancer(tmp_path / "base", loras=loras)
    by_hand(enhancer, 0.7, seed=1)
    by_hand(enhancer, 0.4, seed=2)
    assert same(weights(loaded), weights(enhancer), atol=1e-5)


def test_without_a_stated_alpha_the_scale_is_one(tmp_path):
    enhancer, expected = make_enhancer(), make_enhancer()
    peft(tmp_path, pairs(enhancer))
    (tmp_path / "adapter_config.json").unlink()
    fuse_loras(components(enhancer), [(tmp_path, 1.0)])
    by_hand(expected, 1.0, alpha=RANK)
    assert same(weights(enhancer), weights(expected), atol=1e-5)


def test_one_that_fits_no_layer_is_an_error_that_names_its_keys_and_changes_nothing(tmp_path):
    enhancer = make_enhancer()
    good, bad = tmp_path / "good", tmp_path / "bad.safetensors"
    good.mkdir()
    peft(good, pairs(enhancer))
    pair = {"lora_down.weight": (2, 99), "lora_up.weight": (99, 2)}
    other = "lora_unet_mid_block_attentions_7_proj_in"
    wrong_size = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    names = (other, wrong_size)
    save_file({f"{n}.{k}": torch.ones(shape) for n in names for k, shape in pair.items()}, bad)
    before = weights(enhancer)
    with pytest.raises(LoraError, match=rf"fits no layer.*{wrong_size} \(other sizes\); {other}"):
        fuse_loras(components(enhancer), [(good, 1.0), (bad, 1.0)])
    assert same(weights(enhancer), before)


def test_what_fits_in_part_is_applied_and_reported(tmp_path, caplog):
    enhancer = make_enhancer()
    made = pairs(enhancer)
    state = {"lora_unet_somewhere_else.lora_down.weight": torch.ones(2, 8)}
    state["lora_unet_somewhere_else.lora_up.weight"] = torch.ones(8, 2)
    kohya(tmp_path, made)
    save_file({**load_file(tmp_path / "lora.safetensors"), **state}, tmp_path / "part.safetensors")
    (report,) = fuse_loras(components(enhancer), [(tmp_path / "part.safetensors", 1.0)])
    assert len(report.applied) == len(made)
    assert report.failed == ["lora_unet_somewhere_else"]
    assert "1 of its layers fit none: lora_unet_somewhere_else" in caplog.text


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("lora_unet_x.hada_w1_a", 1.0, "LoHa"),
        ("lora_unet_x.dora_scale", 1.0, "DoRA"),
        ("lora_unet_x.lora_down.weight", float("nan"), "not finite"),
    ],
)
def test_other_kinds_and_broken_numbers_are_refused(tmp_path, key, value, said):
    state = {key: torch.full((2, 2), value), "lora_unet_x.lora_up.weight": torch.ones(2, 2)}
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(LoraError, match=said):
        fuse_loras(components(make_enhancer()), [(tmp_path / "other.safetensors", 1.0)])


@pytest.mark.parametrize(
    ("config", "alpha"),
    [
        ({"lora_alpha": 4.0, "use_rslora": True}, 4.0 * RANK**0.5),
        ({"lora_alpha": 1.0, "alpha_pattern": {"proj_in": 3.0}}, None),
    ],
    ids=["rslora", "alpha_pattern"],
)
def test_alphas_are_read_as_peft_means_them(tmp_path, config, alpha):
    enhancer, expected = make_enhancer(), make_enhancer()
    peft(tmp_path, pairs(enhancer))
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    layer = enhancer.unet.get_submodule(LAYERS["unet"][2]).weight
    fuse_loras(components(enhancer), [(tmp_path, 1.0)])
    by_hand(expected, 1.0, alpha=alpha or 3.0)
    held = expected.unet.get_submodule(LAYERS["unet"][2]).weight
    assert torch.allclose(layer, held, atol=1e-5)


@pytest.mark.parametrize(
    ("state", "config", "said"),
    [
        ({"x.lora_A.weight": ONES}, {}, "unet.x lacks its up matrix"),
        ({"x.alpha": torch.ones(2)}, {}, "unet.x lacks its up matrix"),
        (
            {"x.lora_A.weight": ONES, "x.lora_B.weight": ONES, "y": ONES},
            {},
            "'y', which is no part",
        ),
        ({"x.lora_A.weight": ONES, "x.lora_B.weight": ONES}, {"lora_alpha": "all"}, "'all', which"),
    ],
)
def test_nonsense_is_an_error_in_words(tmp_path, state, config, said):
    save_file({k: v.clone() for k, v in state.items()}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(LoraError, match=said):
        fuse_loras(components(make_enhancer()), [(tmp_path, 1.0)])


def test_a_trained_one_fused_into_its_base_is_the_merged_folder(chain):
    export = chain / "lora" / "export"
    fused = load_enhancer(chain / "unet" / "export", loras=[(export / "lora", 1.0)])
    merged, base = load_enhancer(export / "merged"), load_enhancer(chain / "unet" / "export")
    assert same(weights(fused), weights(merged), atol=1e-5)
    assert not same(weights(merged), weights(base), atol=1e-4)
