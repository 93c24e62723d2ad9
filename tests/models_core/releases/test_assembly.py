"""Releases put together of parts: a base with LoRAs, a StyleGAN2 of other sizes, no adapter."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from models_core.formats.inspection import inspect
from models_core.releases import ReleaseError, open_release
from models_core.releases.assembly import lora_parts
from tests.models_core.enhancer.ldm import single_file
from tests.models_core.enhancer.test_checkpoint import make_enhancer as make_usual
from tests.models_core.formats.hostile import zipped
from tests.models_core.releases.composing import bundle, write_parts
from tests.models_core.stylediffuser.conftest import make_pipeline


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    torch.set_num_threads(1)
    return write_parts(tmp_path_factory.mktemp("parts"))


def components(parts, **more):
    return {name: parts / name for name in ("pipeline", "critic", "upscaler")} | more


def loras(*weights):
    return [{"folder": f"loras/{n}", "weight": w} for n, w in enumerate(weights, start=1)]


def drawn(release) -> np.ndarray:
    return np.stack([np.asarray(draft.image, dtype=int) for draft in release.generate([1, 2])])


@pytest.fixture(scope="module")
def plain(parts, tmp_path_factory):
    return open_release(bundle(tmp_path_factory.mktemp("plain") / "b", components(parts)), "cpu")


def test_a_stylegan2_of_other_sizes_starts_any_base_without_an_adapter(plain):
    pictures = drawn(plain)
    assert pictures.shape == (2, 32, 32, 3)
    assert not np.array_equal(pictures[0], pictures[1])
    assert plain.pipeline.adapter is None and plain.pipeline.prototype.G.w_dim == 12
    (weak,) = plain.generate([1], params={"strength": 0.1, "adapter_scale": 0.0})
    assert not np.array_equal(np.asarray(weak.image), pictures[0])
    (guided,) = plain.generate([1], params={"guidance": 2.0, "scheduler": "ddim"})
    assert guided.image.size == (32, 32)


def test_a_class_without_a_name_is_drawn_by_the_seed(plain):
    prototype = plain.pipeline.prototype
    z = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    labels = prototype.drawn_labels(z)
    assert labels.sum(1).tolist() == [1.0] * 40 and (labels.sum(0) > 5).all()
    assert torch.equal(prototype.drawn_labels(z[7:9]), labels[7:9])
    assert not torch.equal(prototype.map(z, [[]] * 40), prototype.G.mapping(z, torch.zeros(40, 3)))


def test_a_lora_at_weight_0_is_no_lora_and_at_1_is_fused(parts, plain, tmp_path):
    lora = {"loras/1": parts / "lora"}
    off = bundle(tmp_path / "off", components(parts, **lora), loras=loras(0))
    on = bundle(tmp_path / "on", components(parts, **lora), loras=loras(1))
    assert np.array_equal(drawn(open_release(off, "cpu")), drawn(plain))
    fused = open_release(on, "cpu")
    assert np.abs(drawn(fused) - drawn(plain)).max() > 8
    assert [(part.folder, part.weight) for part in fused.loras] == [("loras/1", 1.0)]
    assert not any("lora" in name for name, _ in fused.pipeline.unet.named_modules())
    assert fused.parts == ["loras/1"] and open_release(off, "cpu").parts == []
    without = open_release(on, "cpu", leave_out=["loras/1"])
    assert np.array_equal(drawn(without), drawn(plain)) and without.parts == []


def test_several_add_up_in_their_order(parts, plain, tmp_path):
    two = {"loras/1": parts / "lora", "loras/2": parts / "lora"}
    whole = bundle(tmp_path / "two", components(parts, **two), loras=loras(0.75, -0.25))
    half = bundle(tmp_path / "half", components(parts, **two), loras=loras(0.5, 0))
    added, once = (open_release(folder, "cpu").pipeline.unet for folder in (whole, half))
    for name, value in added.state_dict().items():
        assert torch.allclose(value, once.state_dict()[name], atol=1e-5), name


def test_one_that_fits_no_layer_is_an_error_with_its_keys(parts, tmp_path):
    folder = bundle(
        tmp_path / "b", components(parts, **{"loras/1": parts / "other"}), loras=loras(0)
    )
    with pytest.raises(ReleaseError, match=r"fits no layer.*unet\.mid_block\.attentions\.7"):
        open_release(folder, "cpu")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"folder": "../x", "weight": 1}, "lies in the bundle"),
        ({"folder": "loras/1", "weight": "1"}, "from -10 to 10"),
        ({"folder": "loras/1", "weight": 11}, "from -10 to 10"),
        ({"weight": 1, "scale": 2}, "is {folder, weight, name}"),
    ],
)
def test_what_is_no_lora_of_a_release(entry, said):
    with pytest.raises(ReleaseError, match=said):
        lora_parts({"loras": [entry]})


def test_a_base_in_one_file_with_its_configurations(parts, tmp_path):
    """Stable Diffusion's own sizes need none; these are tiny."""
    usual = make_usual()
    usual.save(tmp_path / "base")
    for weights in (tmp_path / "base").rglob("*.safetensors"):
        weights.unlink()
    state = single_file(usual.unet, usual.vae, usual.text_encoder, False)
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "base/model.safetensors")
    pipeline = tmp_path / "pipeline"
    shutil.copytree(parts / "pipeline" / "prototype", pipeline / "prototype")
    (pipeline / "model_index.json").write_text('{"_class_name": "StyleDiffuserPipeline"}')
    made = components(parts, pipeline=pipeline, base=tmp_path / "base")
    release = open_release(bundle(tmp_path / "b", made), "cpu")
    assert drawn(release).shape[0] == 2
    assert release.pipeline.unet.config.sample_size == usual.unet.config.sample_size
    half = usual.unet.conv_in.weight.half().float()
    assert torch.equal(release.pipeline.unet.conv_in.weight, half)


def test_no_upscaler_and_no_larger_than_asked(parts, tmp_path):
    made = components(parts)
    del made["upscaler"]
    release = open_release(bundle(tmp_path / "b", made, size=24), "cpu")
    assert [i.size for i in release.upscale([Image.new("RGB", (32, 32))])] == [(24, 24)]
    assert [i.size for i in release.upscale([Image.new("RGB", (16, 16))])] == [(16, 16)]
    with pytest.raises(ReleaseError, match="size must be an integer"):
        open_release(bundle(tmp_path / "c", made, size="big"), "cpu")


def test_an_adapter_left_out_is_the_start_alone(tmp_path, parts):
    pipeline = make_pipeline()
    with torch.no_grad():
        for parameter in pipeline.adapter.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    pipeline.save_pretrained(tmp_path / "pipeline")
    made = components(parts, pipeline=tmp_path / "pipeline")
    folder = bundle(tmp_path / "b", made)
    whole = open_release(folder, "cpu")
    assert whole.parts == ["adapter"]
    start = open_release(folder, "cpu", leave_out=["adapter"])
    assert np.abs(drawn(whole) - drawn(start)).max() > 0
    off = {"adapter_scale": 0.0, "style_scale": 0.0}
    pictures = [np.asarray(draft.image, dtype=int) for draft in whole.generate([1, 2], params=off)]
    assert np.abs(np.stack(pictures) - drawn(start)).max() <= 1


def test_a_composed_bundle_is_taken_in_as_an_upload(parts, tmp_path):
    lora = {"loras/1": parts / "lora"}
    folder = bundle(tmp_path / "b", components(parts, **lora), loras=loras(1))
    paths = [path for path in folder.rglob("*") if path.is_file()]
    content = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    (tmp_path / "b.zip").write_bytes(zipped(content))
    report = inspect(tmp_path / "b.zip")
    assert (report["state"], report["kind"]) == ("ready", "release"), report
    assert report["unet"]["block_out_channels"] == [8, 16]
