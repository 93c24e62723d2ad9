"""Each compared model draws what its row says it does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models_core.enhancer.checkpoint import load_enhancer
from models_core.evaluation.models import Missing, identity, open_model, stable_diffusion, verified
from models_core.evaluation.recipe import Comparison, Row
from models_core.releases import open_release

SEEDS, TAGS = [500, 501], [["pink hair"], ["black hair"]]
WHOLE = Row("stylediffuser", 3, start=True, adapter=True, style=True)


@pytest.fixture(scope="module")
def comparison(folder):
    return Comparison.read(folder / "recipe.toml")


@pytest.fixture(scope="module")
def bundle(comparison):
    return verified(comparison)


def test_stylediffuser_draws_what_the_release_draws(comparison, bundle):
    release = open_release(comparison.release, "cpu")
    drafts = release.generate(SEEDS)
    pictures = open_model(WHOLE, comparison, bundle, "cpu")(SEEDS, [d.tags for d in drafts])
    for picture, draft in zip(pictures, drafts, strict=True):
        assert np.abs(picture.astype(int) - np.asarray(draft.image, dtype=int)).max() <= 1


@pytest.mark.parametrize("less", ["start", "adapter", "style"])
def test_every_conditioning_can_be_switched_off(comparison, bundle, less):
    whole = open_model(WHOLE, comparison, bundle, "cpu")(SEEDS, TAGS)
    without = open_model(replace(WHOLE, **{less: False}), comparison, bundle, "cpu")(SEEDS, TAGS)
    assert whole.shape == without.shape == (2, 32, 32, 3)
    assert not np.array_equal(whole, without)


def test_stylegan2_is_the_prototype_enlarged(comparison, bundle):
    (row, release) = Row("stylegan2"), open_release(comparison.release, "cpu")
    pictures = open_model(row, comparison, bundle, "cpu")(SEEDS, TAGS)
    assert pictures.shape == (2, 32, 32, 3)
    drawn = release.pipeline(SEEDS, TAGS, truncation=0.7, steps=1)
    small = np.stack([np.asarray(p, dtype=float) for p in drawn.prototypes])
    blocks = pictures.astype(float).reshape(2, 16, 2, 16, 2, 3).mean(axis=(2, 4))
    assert np.abs(blocks - small).mean() < 6, "the same pictures at twice the size"


def test_stable_diffusion_runs_its_own_unet_from_noise(comparison, bundle):
    """Also guided; the same seeds give the same pictures whatever the batch."""
    enhancer = load_enhancer(comparison.stable_diffusion)
    plain = type(next(iter(enhancer.unet.attn_processors.values())))
    draw = stable_diffusion(enhancer, prefix=["toon style"], steps=4, guidance=1.0, size=32)
    together = draw(SEEDS, TAGS)
    assert together.shape == (2, 32, 32, 3) and together.dtype == np.uint8
    assert np.abs(draw(SEEDS[1:], TAGS[1:])[0].astype(int) - together[1]).max() <= 1
    assert {type(p) for p in enhancer.unet.attn_processors.values()} == {plain}
    guided = stable_diffusion(enhancer, prefix=["toon style"], steps=4, guidance=3.0, size=32)
    assert not np.array_equal(guided(SEEDS, TAGS), together)
    assert draw(SEEDS, TAGS[::-1]).shape == guided(SEEDS, TAGS).shape
    small = stable_diffusion(enhancer, prefix=[], steps=2, guidance=1.0, size=16)
    assert small(SEEDS, TAGS).shape == (2, 16, 16, 3)


def test_pictures_have_another_identity_when_their_model_changes(comparison, bundle):
    row = Row("stable-diffusion-lora", 10)
    first = identity(row, comparison, bundle)
    assert identity(row, comparison, bundle) == first
    assert identity(row, replace(comparison, guidance=2.0), bundle) != first
    assert identity(row, replace(comparison, first_seed=1), bundle) != first
    assert identity(Row("stable-diffusion-lora", 25), comparison, bundle) != first
    weights = comparison.stable_diffusion / "unet/diffusion_pytorch_model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-1] + b"\x01")
    try:
        assert identity(row, comparison, bundle) != first
    finally:
        weights.write_bytes(kept)
    with pytest.raises(Missing, match="names no `stable_diffusion`"):
        identity(row, replace(comparison, stable_diffusion=None), bundle)


def test_real_rows_are_not_drawn(comparison, bundle):
    with pytest.raises(ValueError, match="not drawn"):
        open_model(Row("real"), comparison, bundle, "cpu")
    assert torch.get_default_dtype() == torch.float32
