"""The generator and discriminator as wholes: truncation, mixing, labels, features, noise."""

import pytest
import torch

from models_core.stylegan2 import Discriminator, Generator
from models_core.stylegan2.loss import mix_styles
from tests.models_core.stylegan2.conftest import CONFIG


def test_truncation_pulls_towards_the_mean(G, labels):
    z, mean = torch.randn(4, 8), G.mapping.w_avg
    full = G.mapping(z, labels)
    half = G.mapping(z, labels, truncation_psi=0.5)
    assert full.shape == (4, G.num_ws, 12)
    assert torch.allclose(half, mean + 0.5 * (full - mean), atol=1e-6)
    assert torch.allclose(G.mapping(z, labels, truncation_psi=0.0), mean.expand(4, G.num_ws, 12))


def test_the_cutoff_leaves_later_layers_alone(G, labels):
    z = torch.randn(4, 8)
    full = G.mapping(z, labels)
    cut = G.mapping(z, labels, truncation_psi=0.0, truncation_cutoff=2)
    assert torch.allclose(cut[:, :2], G.mapping.w_avg.expand(4, 2, 12))
    assert torch.equal(cut[:, 2:], full[:, 2:])


def test_mixing_takes_a_second_style_from_some_layer_on(G, labels):
    z = torch.randn(4, 8)
    plain = mix_styles(G, z, labels, 0.0)
    mixed = mix_styles(G, z, labels, 1.0)
    for before, after in zip(plain, mixed, strict=True):
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        cut = same.index(False)
        assert 1 <= cut < G.num_ws
        assert not any(same[cut:])
        assert all(torch.equal(row, after[cut]) for row in after[cut:])


def test_early_layers_decide_the_features_of_low_resolutions(G, labels):
    """Style mixing in the picture: what comes before the second style is untouched by it."""
    ws, other = G.mapping(torch.randn(4, 8), labels), G.mapping(torch.randn(4, 8), labels)
    cut = 3  # the layers of 4x4 and 8x8
    mixed = torch.cat([ws[:, :cut], other[:, cut:]], dim=1)
    one: dict[int, torch.Tensor] = {}
    two: dict[int, torch.Tensor] = {}
    G.synthesis(ws, features=one)
    G.synthesis(mixed, features=two)
    assert {r: tuple(f.shape[1:]) for r, f in one.items()} == {
        4: (16, 4, 4),
        8: (16, 8, 8),
        16: (8, 16, 16),
    }
    assert torch.equal(one[8], two[8])
    assert not torch.allclose(one[16], two[16], atol=1e-2)


def test_labels_matter_and_are_needed(G, D, labels):
    z = torch.randn(4, 8)
    image = G(z, labels)
    assert image.shape == (4, 3, 16, 16)
    assert not torch.allclose(image, G(z, labels.flip(0)), atol=1e-3)
    assert not torch.allclose(D(image, labels), D(image, labels.flip(0)), atol=1e-4)
    with pytest.raises(ValueError, match=r"needs labels c \[N, 3\]"):
        G(z)


def test_one_picture_does_not_depend_on_the_others(G, labels):
    z = torch.randn(4, 8)
    together = G(z, labels, noise_mode="const")
    for n in range(4):
        alone = G(z[n : n + 1], labels[n : n + 1], noise_mode="const")
        assert torch.allclose(alone, together[n : n + 1], atol=1e-5)


def test_noise_is_random_constant_or_none():
    synthesis = {"channel_base": 128, "channel_max": 16}
    G = Generator(**{**CONFIG, "c_dim": 0, "synthesis_kwargs": synthesis})
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    z = torch.randn(2, 8)
    assert torch.equal(G(z, noise_mode="const"), G(z, noise_mode="const"))
    assert torch.equal(G(z, noise_mode="none"), G(z, noise_mode="none"))
    assert not torch.allclose(G(z, noise_mode="const"), G(z, noise_mode="none"), atol=1e-2)
    assert not torch.allclose(G(z), G(z), atol=1e-2)


def test_without_noise_inputs_there_is_nothing_to_store(G, labels):
    assert not any("noise" in name for name in G.state_dict())
    z = torch.randn(4, 8)
    assert torch.equal(G(z, labels), G(z, labels, noise_mode="const"))


def test_the_running_mean_follows_w_only_when_told(G, labels):
    before = G.mapping.w_avg.clone()
    ws = G.mapping(torch.randn(4, 8), labels)
    assert torch.equal(G.mapping.w_avg, before)
    z = torch.randn(4, 8)
    ws = G.mapping(z, labels, update_average=True)
    expected = before * 0.998 + ws[:, 0].mean(dim=0) * 0.002
    assert torch.allclose(G.mapping.w_avg, expected, atol=1e-6)


@pytest.mark.parametrize("resolution", [2, 48, 0])
def test_a_resolution_must_be_a_power_of_two(resolution):
    with pytest.raises(ValueError, match="power of two"):
        Discriminator(0, resolution)
