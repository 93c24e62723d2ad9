"""Opening Stable Diffusions of others, offline."""

import json
import socket

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from models_core.enhancer.checkpoint import (
    CONFIGS,
    CheckpointError,
    Enhancer,
    convert,
    empty_modules,
    load_enhancer,
)
from models_core.enhancer.clip_tokenizer import build_clip_tokenizer
from models_core.enhancer.components import build_scheduler, encode_text
from models_core.enhancer.weights import lay_out, misfits
from tests.models_core.enhancer.ldm import single_file

LINEAR = {"use_linear_projection": True}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def make_enhancer(width: int = 32, heads: int = 8, **unet) -> Enhancer:
    """A Stable Diffusion with every kind of block of the real one, tiny."""
    torch.manual_seed(0)
    return Enhancer(
        unet=UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=width,
            attention_head_dim=heads,
            **unet,
        ),
        vae=AutoencoderKL(
            sample_size=16,
            block_out_channels=(32, 64),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=49408,
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=2,
                num_attention_heads=2,
            )
        ),
        tokenizer=build_clip_tokenizer(),
        scheduler=build_scheduler(prediction="v_prediction"),
    )


def write(enhancer: Enhancer, file, *, open_clip: bool = False, **metadata) -> None:
    parts = (enhancer.unet, enhancer.vae, enhancer.text_encoder)
    state = {k: v.contiguous() for k, v in single_file(*parts, open_clip).items()}
    save_file(state, file, metadata=metadata or None)


@torch.no_grad()
def draw(enhancer: Enhancer) -> torch.Tensor:
    """One step of everything: text → UNet → decoder → encoder."""
    for module in enhancer.modules():
        module.eval()
        lay_out(module, channels_last=module is not enhancer.text_encoder)
    hidden = encode_text(enhancer.tokenizer, enhancer.text_encoder, ["a photo of a cat"])
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    image = enhancer.vae.decode(enhancer.unet(z, 500, hidden).sample).sample
    return enhancer.vae.encode(image).latent_dist.mode()


@pytest.mark.parametrize("open_clip", [False, True], ids=["1.x", "2.x"])
def test_a_single_file_draws_as_its_components_did(tmp_path, open_clip):
    enhancer = make_enhancer(**(LINEAR if open_clip else {}))
    enhancer.save(tmp_path / "config")
    for weights in (tmp_path / "config").rglob("*.safetensors"):
        weights.unlink()
    write(enhancer, tmp_path / "model.safetensors", open_clip=open_clip)
    loaded = load_enhancer(tmp_path / "model.safetensors", tmp_path / "config")
    for before, after in zip(enhancer.modules(), loaded.modules(), strict=True):
        held = after.state_dict()
        assert all(torch.equal(held[key], value) for key, value in before.state_dict().items())
    assert torch.equal(draw(loaded), draw(enhancer))
    assert loaded.scheduler.config.prediction_type == "v_prediction"
    assert not any(p.requires_grad for m in loaded.modules() for p in m.parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("stable-diffusion-1", (859_520_964, 83_653_863, 123_060_480)),
        ("stable-diffusion-2", (865_910_724, 83_653_863, 340_387_840)),
        ("stable-diffusion-2-v", (865_910_724, 83_653_863, 340_387_840)),
    ],
)
def test_every_tensor_of_a_full_size_checkpoint_finds_its_place(tmp_path, name, parameters):
    """The counts are those of the published models; nothing is allocated."""
    table = json.loads((CONFIGS / f"{name}.json").read_text())
    modules = empty_modules(table)
    counts = [sum(p.numel() for p in modules[m].parameters()) for m in modules]
    assert tuple(counts) == parameters
    with torch.device("meta"):
        tensors = single_file(*modules.values(), open_clip="2" in name)
    converted = convert(tmp_path, tensors, modules)
    assert [misfits(modules[m], converted[m]) for m in modules] == [[], [], []]
    assert len(converted["unet"]) == 686
    assert all(value.is_meta for value in converted["unet"].values())


def test_a_file_of_usual_width_needs_no_configuration(tmp_path):
    """Its text is as wide as a real 1.x, the rest is not: refused by shape, not by a hub."""
    write(make_enhancer(width=768), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"unet: .*has shape \[.*and \d+ more; a folder with"):
        load_enhancer(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {"conditioner.embedders.0.x": torch.zeros(1), **s}, "Stable Diffusion XL"),
        (lambda s: {k: v for k, v in s.items() if "input_blocks" not in k}, "no Stable Diffusion"),
        (lambda s: {k: v for k, v in s.items() if "first_stage" not in k}, "without its autoenc"),
        (lambda s: {k: v for k, v in s.items() if "cond_stage" not in k}, "without its text enc"),
        (
            lambda s: {
                **s,
                "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(4, 9, 3, 3),
            },
            "9 input channels",
        ),
        (lambda s: s, "text of width 32, neither"),
    ],
    ids=["xl", "other", "no vae", "no text", "inpainting", "other width"],
)
def test_what_cannot_be_used_is_told_in_words(tmp_path, change, said):
    enhancer = make_enhancer()
    state = single_file(enhancer.unet, enhancer.vae, enhancer.text_encoder, False)
    save_file({k: v.contiguous() for k, v in change(state).items()}, tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match=said):
        load_enhancer(tmp_path / "m.safetensors")


def test_a_pickle_is_not_opened(tmp_path):
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"nor a \.safetensors file"):
        load_enhancer(tmp_path / "model.ckpt")


def test_a_damaged_file_says_so(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_enhancer(tmp_path / "model.safetensors")


def test_a_folder_is_opened_whatever_its_scheduler_and_tokenizer_are(tmp_path):
    enhancer = make_enhancer()
    enhancer.save(tmp_path)
    PNDMScheduler(prediction_type="v_prediction").save_pretrained(tmp_path / "scheduler")
    vocabulary = enhancer.tokenizer.get_vocab()
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    (tmp_path / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    merges = json.loads(enhancer.tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    (tmp_path / "tokenizer" / "merges.txt").write_text("\n".join(" ".join(m) for m in merges))
    loaded = load_enhancer(tmp_path)
    assert torch.equal(draw(loaded), draw(enhancer))
    assert type(loaded.scheduler).__name__ == "EulerDiscreteScheduler"
    assert loaded.scheduler.config.prediction_type == "v_prediction"


def test_a_folder_with_pickled_weights_is_refused(tmp_path):
    enhancer = make_enhancer()
    enhancer.save(tmp_path)
    weights = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(enhancer.unet.state_dict(), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(CheckpointError, match="cannot be opened"):
        load_enhancer(tmp_path)
    with pytest.raises(CheckpointError, match="has no vae/"):
        (tmp_path / "vae").rename(tmp_path / "other")
        load_enhancer(tmp_path)


def test_captions_become_clips_own_tokens():
    tokenizer = build_clip_tokenizer()
    assert len(tokenizer) == 49408
    (ids,) = tokenizer(["A photo  of a cat"]).input_ids
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    (padded,) = build_clip_tokenizer("!")(["a cat"], padding="max_length").input_ids
    assert padded[:5] == [49406, 320, 2368, 49407, 0] and len(padded) == 77
