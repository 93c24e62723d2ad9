"""A recipe's `init`: a run that starts from what another one exported."""

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from models_core.data.dataset import ImageFolder
from models_core.enhancer.components import build_text_encoder, build_tokenizer
from models_core.stylediffuser.adapter import StyleAdapter
from models_core.training.autoencoder import AutoencoderTraining
from models_core.training.initial import InitialWeightsError, start_text_encoder
from models_core.training.run import Run
from models_core.training.stylediffuser import StyleDiffuserTraining
from models_core.training.unet import UNetTraining
from tests.models_core.enhancer.conftest import write_recipe, write_stylediffuser, write_unet

KEY = "embeddings.token_embedding.weight"


def equal(a, b) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def vae_recipe(chain, file, **top):
    return write_recipe(file, "autoencoder", data=[str(chain / "data")], **top)


def autoencoder_job(chain, folder, recipe) -> AutoencoderTraining:
    data = chain / "data"
    return AutoencoderTraining(
        Run(folder, recipe), [ImageFolder(data)], ImageFolder(data, "validation")
    )


def test_an_autoencoder_starts_from_a_vae_folder_and_then_from_its_own_checkpoint(chain, tmp_path):
    vae = chain / "vae" / "export"
    recipe = vae_recipe(chain, tmp_path / "vae.toml", init=str(vae))
    job = autoencoder_job(chain, tmp_path / "run", recipe)
    exported = AutoencoderKL.from_pretrained(vae)
    assert equal(job.model, exported) and equal(job.average, exported)
    job.take_step()
    job.run.save(job.state())
    again = autoencoder_job(chain, tmp_path / "run", recipe)
    assert equal(again.model, job.model) and not equal(again.model, exported)


def test_a_base_starts_from_a_folder_in_diffusers_layout(chain, tmp_path):
    export = chain / "unet" / "export"
    job = UNetTraining(Run(tmp_path, write_unet(chain, tmp_path / "unet.toml", init=str(export))))
    assert equal(job.unet, UNet2DConditionModel.from_pretrained(export / "unet"))
    fresh = UNetTraining(Run(tmp_path / "f", write_unet(chain, tmp_path / "fresh.toml")))
    assert not equal(job.text_encoder, fresh.text_encoder)


def test_words_keep_their_embedding_wherever_they_moved(tmp_path):
    sizes = {"width": 8, "layers": 1, "heads": 2, "max_length": 6}
    older, newer = (
        build_tokenizer(["pink hair", "old"], 6),
        build_tokenizer(["new", "pink hair"], 6),
    )
    torch.manual_seed(0)
    before, after = build_text_encoder(len(older), sizes), build_text_encoder(len(newer), sizes)
    before.save_pretrained(tmp_path / "text_encoder")
    older.save_pretrained(tmp_path / "tokenizer")
    fresh = embedding(after).clone()
    start_text_encoder(after, newer, tmp_path)
    was, now = older.get_vocab()["pink hair"], newer.get_vocab()["pink hair"]
    assert was != now and torch.equal(embedding(before)[was], embedding(after)[now])
    new = newer.get_vocab()["new"]
    assert torch.equal(embedding(after)[new], fresh[new])


def embedding(encoder) -> torch.Tensor:
    return next(v for k, v in encoder.state_dict().items() if k.endswith(KEY))


def test_stylediffuser_starts_from_an_adapter_folder(chain, tmp_path):
    adapter = chain / "style" / "export" / "adapter"
    recipe = write_stylediffuser(chain, tmp_path / "style.toml", init=str(adapter))
    job = StyleDiffuserTraining(Run(tmp_path, recipe))
    assert equal(job.adapter, StyleAdapter.from_pretrained(adapter))
    assert torch.equal(job.average[0], next(job.adapter.parameters()))


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("prototype", "encoder.conv_in.weight is missing"),
        ("vae", "holds neither diffusion_pytorch_model.safetensors nor"),
    ],
)
def test_weights_that_do_not_fit_are_named(chain, tmp_path, init, said):
    recipe = vae_recipe(chain, tmp_path / "vae.toml", init=str(chain / init))
    with pytest.raises(InitialWeightsError, match=said):
        autoencoder_job(chain, tmp_path / "run", recipe)


def test_other_sizes_than_the_recipes_are_named_with_both_shapes(chain, tmp_path):
    recipe = vae_recipe(chain, tmp_path / "vae.toml", init=str(chain / "vae" / "export"))
    recipe.write_text(recipe.read_text().replace("[8, 8, 16]", "[16, 16, 32]"))
    with pytest.raises(InitialWeightsError, match=r"shape \[.*not \["):
        autoencoder_job(chain, tmp_path / "run", recipe)
