"""The pipeline as its users see it: seeds in, pictures out."""

import copy

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from models_core.data.dataset import to_pixels
from models_core.enhancer.components import build_scheduler, encode_text
from models_core.stylediffuser.pipeline import (
    Aborted,
    StyleDiffuserPipeline,
    clean_part,
    seeded_noise,
)
from models_core.stylediffuser.schedulers import (
    SCHEDULERS,
    make_scheduler,
    partial_timesteps,
    plan,
)


def pixels(images):
    return np.stack([np.asarray(image) for image in images]).astype(int)


def test_one_picture_per_seed_of_the_enhancers_size(pipeline):
    drawn = pipeline([1, 2, 3], steps=2)
    assert [image.size for image in drawn.images] == [(32, 32)] * 3
    assert [image.size for image in drawn.prototypes] == [(16, 16)] * 3


def test_a_seed_gives_the_same_picture_alone_and_in_company(trained):
    alone = pipeline_pixels(trained, [7])
    company = pipeline_pixels(trained, [5, 6, 7, 8])
    assert (alone[0] == company[2]).all()
    assert (company[0] != company[1]).any()


def pipeline_pixels(pipeline, seeds, **kwargs):
    return pixels(pipeline(seeds, steps=3, **kwargs).images)


def test_larger_batches_change_nothing_but_rounding(trained):
    single = pipeline_pixels(trained, [1, 2, 3, 4], batch_size=1)
    together = pipeline_pixels(trained, [1, 2, 3, 4], batch_size=4)
    assert np.abs(single - together).max() <= 1


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_saved_and_loaded_it_draws_the_same_to_the_last_bit(trained, tmp_path, guidance):
    trained.save_pretrained(tmp_path)
    loaded = StyleDiffuserPipeline.from_pretrained(tmp_path, local_files_only=True)
    arguments = {"tags": [["pink hair"], ["smiling"]], "guidance": guidance}
    before = pipeline_pixels(trained, [1, 2], **arguments)
    assert (before == pipeline_pixels(loaded, [1, 2], **arguments)).all()


def test_a_saved_pipeline_holds_nothing_that_could_run(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".safetensors"}


def test_tags_reach_the_picture(trained):
    pink = pipeline_pixels(trained, [3], tags=[["pink hair"]])
    blue = pipeline_pixels(trained, [3], tags=[["blue hair"]])
    assert (pink != blue).any()


def test_the_callback_sees_every_step_and_can_stop(pipeline):
    seen = []
    pipeline([1, 2], steps=2, callback=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(Aborted, match="2 of 4"):
        pipeline([1, 2], steps=2, callback=lambda done, of: done == 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"steps": 0}, "steps must be"),
        ({"strength": 0.0}, "strength must be"),
        ({"strength": 1.5}, "strength must be"),
        ({"tags": [[], []]}, "1 seeds but 2 rows"),
        ({"guidance": -1.0}, "guidance must not"),
    ],
    ids=str,
)
def test_bad_parameters_are_named(pipeline, arguments, said):
    with pytest.raises(ValueError, match=said):
        pipeline([1], **arguments)


def test_ten_steps_are_ten_evaluations_whatever_the_strength(pipeline):
    for strength in (0.3, 0.6, 1.0):
        steps = partial_timesteps(pipeline.scheduler, 10, strength)
        assert len(steps) == 10
        assert steps[0] == round(1000 * strength) - 1


def plain_path(pipeline, seed: int, steps: int) -> np.ndarray:
    """Stable Diffusion alone, from the noise that the pipeline draws for the seed."""
    unet = copy.deepcopy(pipeline.unet)
    unet.set_attn_processor(AttnProcessor2_0())
    _, noise, _ = seeded_noise([seed], pipeline.prototype.G.z_dim, pipeline.latent_shape)
    scheduler = copy.deepcopy(pipeline.scheduler)
    scheduler.set_timesteps(timesteps=partial_timesteps(scheduler, steps, 1.0))
    hidden = encode_text(pipeline.tokenizer, pipeline.text_encoder, ["pink hair"])
    x = noise * scheduler.init_noise_sigma
    with torch.no_grad():
        for t in scheduler.timesteps:
            said = unet(scheduler.scale_model_input(x, t), t, hidden).sample
            x = scheduler.step(said, t, x).prev_sample
        return to_pixels(pipeline.vae.decode(x / pipeline.vae.config.scaling_factor).sample)


OFF = {"strength": 1.0, "adapter_scale": 0.0, "style_scale": 0.0}


def test_with_all_three_off_it_is_stable_diffusion_to_the_last_bit(trained):
    drawn = pipeline_pixels(trained, [3], tags=[["pink hair"]], **OFF)
    assert (drawn == plain_path(trained, 3, 3)).all()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("strength", ["vae.encoder"]),
        ("adapter_scale", ["adapter.convs"]),
        ("style_scale", ["adapter.to_tokens", "adapter.attention"]),
    ],
)
def test_what_is_off_is_not_even_read(trained, name, parts):
    """Weights that only serve one conditioning may be anything while that one is off."""
    off = {name: OFF[name]}
    on, without = pipeline_pixels(trained, [3]), pipeline_pixels(trained, [3], **off)
    torch.manual_seed(5)
    with torch.no_grad():
        for part in parts:
            component, _, inner = part.partition(".")
            for parameter in getattr(trained, component).get_submodule(inner).parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
    assert (pipeline_pixels(trained, [3], **off) == without).all()
    assert (pipeline_pixels(trained, [3]) != on).any()


@pytest.mark.parametrize("name", [*SCHEDULERS])
def test_every_scheduler_keeps_seeds_apart_from_their_company(trained, name):
    alone = pipeline_pixels(trained, [7], scheduler=name)
    company = pipeline_pixels(trained, [6, 7], scheduler=name)
    assert (alone[0] == company[1]).all()
    together = pipeline_pixels(trained, [6, 7], scheduler=name, batch_size=2)
    assert np.abs(together - company).max() <= 1


def test_schedulers_differ_and_eulers_is_the_default(trained):
    drawn = {name: pipeline_pixels(trained, [7], scheduler=name) for name in SCHEDULERS}
    assert (drawn["euler"] == pipeline_pixels(trained, [7])).all()
    # DDIM is Euler's method in other variables (Song 2021, §4.3).
    assert np.abs(drawn["euler"] - drawn["ddim"]).max() <= 1
    others = set(SCHEDULERS) - {"euler", "ddim"}
    assert all((drawn["euler"] != drawn[name]).any() for name in others)
    with pytest.raises(ValueError, match=r"scheduler must be one of euler, .*, not 'magic'"):
        trained([1], scheduler="magic")


@pytest.mark.parametrize("name", [*SCHEDULERS])
def test_every_scheduler_leads_a_perfect_enhancer_to_the_clean_latent(name):
    """Also where the latent is far over 1, and each step's preview already shows it."""
    scheduler = make_scheduler(name, build_scheduler())
    timesteps = plan(scheduler, 5, 0.6, "cpu")
    clean = torch.linspace(-4, 4, 4 * 8 * 8).view(1, 4, 8, 8)
    dice = torch.Generator().manual_seed(1)
    x = scheduler.add_noise(clean, torch.randn(clean.shape, generator=dice), timesteps[:1])
    for t in timesteps:
        z_t = scheduler.scale_model_input(x, t)
        alpha = scheduler.alphas_cumprod[int(t)]
        said = (z_t - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        assert torch.allclose(clean_part(scheduler, z_t, said, t), clean, atol=1e-3)
        x = scheduler.step(said, t, x).prev_sample
    assert torch.allclose(x, clean, atol=0.05)


def test_previews_are_small_pictures_of_those_in_work(trained):
    seen, counted = [], []
    trained(
        [1, 2, 3],
        steps=5,
        batch_size=2,
        callback=lambda done, of: counted.append((done, of)),
        preview=lambda first, images: seen.append((first, [i.size for i in images])),
        preview_every=2,
    )
    assert seen == [(0, [(16, 16)] * 2)] * 2 + [(2, [(16, 16)])] * 2
    assert counted[-1] == (15, 15)
