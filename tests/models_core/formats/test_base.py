"""Stable Diffusion in one file, and model folders: recognised and taken over unchanged."""

import argparse
import collections
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models_core.critic.critic import Critic
from models_core.enhancer.checkpoint import load_enhancer
from models_core.formats.convert import convert
from models_core.formats.inspection import inspect
from models_core.formats.sandbox import convert_confined
from models_core.formats.verdicts import Refused
from models_core.releases.bundle import verify_release
from models_core.stylegan2 import checkpoint
from models_core.upscale.upscaler import Upscaler
from tests.models_core.enhancer.ldm import single_file
from tests.models_core.enhancer.test_checkpoint import LINEAR, draw, make_enhancer
from tests.models_core.formats.hostile import zipped

DEMO = Path(__file__).parents[3] / "models_core" / "releases" / "demo"
UNET = "model.diffusion_model."


def ldm(
    text_width: int = 768, openclip: bool = False, channels: int = 4
) -> dict[str, torch.Tensor]:
    """As the original code names its parts, with very few of them."""
    torch.manual_seed(0)
    text = "model.transformer.resblocks.0" if openclip else "transformer.text_model.encoder"
    return {
        f"{UNET}input_blocks.0.0.weight": torch.randn(8, channels, 3, 3),
        f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.randn(
            8, text_width
        ),
        "first_stage_model.decoder.conv_in.weight": torch.randn(8, 4, 3, 3).bfloat16(),
        f"cond_stage_model.{text}.weight": torch.randn(8, 8).half(),
        "model_ema.decay": torch.tensor(0.5),
    }


@pytest.mark.parametrize(
    ("width", "metadata", "sample"),
    [(768, None, 64), (1024, None, 96), (1024, {"modelspec.prediction_type": "epsilon"}, 64)],
    ids=["1.x", "2.x, of which v is assumed", "2.x for epsilon"],
)
def test_a_usual_single_file_tells_the_sizes_it_is_opened_with(width, metadata, sample, tmp_path):
    state = ldm(width, openclip=width == 1024)
    save_file(state, tmp_path / "tiny", metadata)
    assert inspect(tmp_path / "tiny")["unet"] is None, "8 channels are no Stable Diffusion's"
    state[f"{UNET}input_blocks.0.0.weight"] = torch.zeros(320, 4, 3, 3)
    save_file(state, tmp_path / "usual", metadata)
    sizes = inspect(tmp_path / "usual")["unet"]
    assert (sizes["sample_size"], sizes["cross_attention_dim"]) == (sample, width)
    assert sizes["block_out_channels"] == [320, 640, 1280, 1280]


class ModelCheckpoint:
    """Lightning leaves its callbacks' classes and states in a `.ckpt`."""


@pytest.mark.parametrize(
    ("container", "family"), [("safetensors", "sd1"), ("ckpt", "sd1"), ("ckpt", "sd2")]
)
def test_a_single_file_keeps_every_number(container, family, tmp_path, nothing_runs):
    state = ldm(1024, openclip=True) if family == "sd2" else ldm()
    file = tmp_path / "model"
    if container == "safetensors":
        save_file(state, file, {"modelspec.license": "CreativeML Open RAIL-M"})
    else:
        callbacks = {ModelCheckpoint: {"best": argparse.Namespace(score=1.0), "kind": Any}}
        steps = collections.Counter([30, 60])
        torch.save({"state_dict": state, "callbacks": callbacks, "lr_schedulers": steps}, file)
    with nothing_runs():
        report = inspect(file)
    assert (report["state"], report["kind"], report["family"]) == ("ready", "base", family)
    assert report["resolution"] == {"sd1": 512, "sd2": None}[family]
    assert report["dtype"] == "float32+bfloat16+float16"
    assert report["licence"] == ("CreativeML Open RAIL-M" if container == "safetensors" else None)
    convert(file, tmp_path / "ours")
    ours = load_file(tmp_path / "ours" / "model.safetensors")
    assert ours.keys() == {name for name in state if name != "model_ema.decay"}
    for name, value in ours.items():
        assert value.dtype == state[name].dtype
        assert torch.equal(value, state[name])
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["family"] == family


@pytest.mark.parametrize("open_clip", [False, True], ids=["1.x", "2.x"])
def test_a_converted_checkpoint_draws_as_before(tmp_path, open_clip):
    """A tiny Stable Diffusion as a training's `.ckpt`, converted, opened and run."""
    enhancer = make_enhancer(**(LINEAR if open_clip else {}))
    enhancer.save(tmp_path / "config")
    state = single_file(enhancer.unet, enhancer.vae, enhancer.text_encoder, open_clip)
    torch.save({"state_dict": state, "global_step": 7}, tmp_path / "model.ckpt")
    report = inspect(tmp_path / "model.ckpt")
    assert (report["state"], report["kind"]) == ("ready", "base")
    convert(tmp_path / "model.ckpt", tmp_path / "ours")
    loaded = load_enhancer(tmp_path / "ours" / "model.safetensors", tmp_path / "config")
    assert torch.equal(draw(loaded), draw(enhancer))


def test_what_a_header_says_of_a_2x_is_kept(tmp_path):
    save_file(ldm(1024, openclip=True), tmp_path / "m", {"modelspec.prediction_type": "epsilon"})
    assert inspect(tmp_path / "m")["prediction"] == "epsilon"
    convert(tmp_path / "m", tmp_path / "ours")
    again = inspect(tmp_path / "ours" / "model.safetensors")
    assert again["prediction"] == "epsilon"
    save_file(ldm(1024, openclip=True), tmp_path / "m")
    assert inspect(tmp_path / "m")["prediction"] is None


def test_half_precision_is_torchs(tmp_path):
    state = ldm()
    save_file(state, tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "ours", half=True)
    for name, value in load_file(tmp_path / "ours" / "model.safetensors").items():
        assert torch.equal(value, state[name].half())


def test_numbers_that_are_none_are_refused(tmp_path):
    for index, bad in enumerate((float("nan"), float("inf"))):
        state = ldm()
        for name in (f"{UNET}input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight"):
            broken = {**state, name: state[name].clone()}
            broken[name][0, 0, 0, 0] = bad
            save_file(broken, tmp_path / "model")
            with pytest.raises(Refused, match="no numbers"):
                convert(tmp_path / "model", tmp_path / f"ours{index}")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("change", "state", "says"),
    [
        ({"conditioner.embedders.1.x": torch.ones(1)}, "unsupported", "Stable Diffusion XL"),
        ({f"{UNET}label_emb.0.0.weight": torch.ones(1)}, "unsupported", "Stable Diffusion XL"),
        ({f"{UNET}double_blocks.0": torch.ones(1)}, "unsupported", "Flux"),
        ({f"{UNET}input_blocks.0.0.weight": torch.ones(8, 9, 3, 3)}, "unsupported", "inpainting"),
        ({"first_stage_model.decoder.conv_in.weight": None}, "incompatible", "no autoencoder"),
        ({f"{UNET}input_blocks.0.0.weight": None}, "unsupported", "unknown model"),
    ],
)
def test_what_is_not_used_is_named(change, state, says, tmp_path):
    weights = {n: v for n, v in {**ldm(), **change}.items() if v is not None}
    save_file(weights, tmp_path / "model")
    report = inspect(tmp_path / "model")
    assert report["state"] == state
    assert says in report["reason"]


def as_zip(folder: Path, file: Path, root: str = "") -> Path:
    names = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    content = {f"{root}{p.relative_to(folder).as_posix()}": p.read_bytes() for p in names}
    file.write_bytes(zipped(content))
    return file


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("pipeline/prototype", "prototype"),
        ("pipeline/adapter", "adapter"),
        ("critic", "critic"),
        ("upscaler", "upscaler"),
    ],
)
def test_our_components_as_folder_and_as_zip(part, kind, tmp_path, nothing_runs):
    with nothing_runs():
        report = inspect(DEMO / part)
    assert (report["state"], report["kind"]) == ("ready", kind)
    assert report["dtype"] == "float16"
    file = as_zip(DEMO / part, tmp_path / "part.zip", root="part/")
    with nothing_runs():
        assert inspect(file) == report
    convert(file, tmp_path / "ours")
    for path in (tmp_path / "ours").iterdir():
        assert path.read_bytes() == (DEMO / part / path.name).read_bytes()
    if kind == "critic":
        Critic.open(tmp_path / "ours")
    if kind == "upscaler":
        Upscaler.open(tmp_path / "ours")


def test_our_release_in_a_zip_is_taken_over_with_its_digest(tmp_path):
    file = as_zip(DEMO, tmp_path / "toon.zip", root="toon/")
    report = inspect(file)
    assert (report["state"], report["kind"], report["resolution"]) == ("ready", "release", 128)
    assert report["release"]["name"] == "toon"
    assert "CC BY 4.0" in report["licence"]
    convert(file, tmp_path / "ours")
    assert verify_release(tmp_path / "ours").digest == verify_release(DEMO).digest


def test_a_changed_release_is_corrupt(tmp_path):
    shutil.copytree(DEMO, tmp_path / "toon")
    weights = tmp_path / "toon" / "critic" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Refused, match="was changed or cut"):
        convert(tmp_path / "toon", tmp_path / "ours")
    weights.write_bytes(content[:-4])
    assert inspect(tmp_path / "toon")["state"] == "corrupt"


def test_parts_of_a_release_must_fit_each_other(tmp_path):
    pipeline = tmp_path / "pipeline"
    shutil.copytree(DEMO / "pipeline", pipeline)
    assert inspect(pipeline)["kind"] == "pipeline"
    config = pipeline / "adapter" / "config.json"
    changed = json.loads(config.read_text())
    config.write_text(json.dumps({**changed, "w_dim": 64, "num_ws": 20}))
    report = inspect(pipeline)
    assert report["state"] == "incompatible"
    assert "its adapter is for 20 w's, but there are 10" in report["reason"]
    config.write_text(json.dumps({**changed, "token_dim": 96}))
    assert inspect(pipeline)["state"] == "incompatible"


def test_a_stable_diffusion_folder_is_a_base(tmp_path):
    pipeline = tmp_path / "pipeline"
    shutil.copytree(DEMO / "pipeline", pipeline)
    index = json.loads((pipeline / "model_index.json").read_text())
    del index["prototype"], index["adapter"]
    index["_class_name"] = "StableDiffusionPipeline"
    (pipeline / "model_index.json").write_text(json.dumps(index))
    assert inspect(pipeline)["prediction"] == "epsilon"
    (pipeline / "LICENSE").write_text("CC BY 4.0")
    (pipeline / "README.md").write_text("read me")
    report = inspect(as_zip(pipeline, tmp_path / "sd.zip"))
    assert (report["state"], report["kind"], report["resolution"]) == ("ready", "base", 128)
    convert(tmp_path / "sd.zip", tmp_path / "ours")
    assert (tmp_path / "ours" / "tokenizer" / "tokenizer.json").is_file()
    assert (tmp_path / "ours" / "LICENSE.txt").read_text() == "CC BY 4.0"
    kinds = {path.suffix for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    assert kinds == {".json", ".txt", ".safetensors"}
    del index["vae"]
    (pipeline / "model_index.json").write_text(json.dumps(index))
    assert inspect(pipeline)["state"] == "incompatible"


def test_a_checkpoint_folder_of_ours(make_G, tmp_path):
    G = make_G(3)
    config = {
        "z_dim": 8,
        "c_dim": 3,
        "w_dim": 8,
        "img_resolution": 16,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": {"channel_base": 128, "channel_max": 16},
    }
    checkpoint.save(
        config, G.state_dict(), tmp_path / "gan", tags={"a": {"b": 0.1, "c": 0, "d": 0}}
    )
    report = inspect(tmp_path / "gan")
    assert (report["state"], report["kind"]) == ("ready", "stylegan2")
    assert report["conditioning"] == {"label": 3, "tags": 3}
    convert_confined(tmp_path / "gan", tmp_path / "ours")
    assert checkpoint.describe(tmp_path / "ours").tags == {"a": {"b": 0.1, "c": 0, "d": 0}}
    written = json.loads((tmp_path / "gan" / "config.json").read_text())
    for change in ({"img_resolution": 32}, {"w_dim": "8"}, {"c_dim": 5}, {"img_resolution": 2**40}):
        changed = {**written, "generator": {**written["generator"], **change}}
        (tmp_path / "gan" / "config.json").write_text(json.dumps(changed))
        assert inspect(tmp_path / "gan")["state"] == "incompatible", change


def test_a_link_in_a_folder_is_unsafe(tmp_path):
    shutil.copytree(DEMO / "critic", tmp_path / "critic")
    (tmp_path / "critic" / "LICENSE.txt").symlink_to("/etc/passwd")
    assert inspect(tmp_path / "critic")["state"] == "unsafe"
