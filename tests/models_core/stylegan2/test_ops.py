"""The operations against their definitions."""

import math

import pytest
import torch
import torch.nn.functional as F

from models_core.stylegan2.discriminator import minibatch_stddev
from models_core.stylegan2.generator import modulated_conv2d
from models_core.stylegan2.layers import FullyConnected
from models_core.stylegan2.ops import (
    conv2d_resample,
    filter2d,
    fir_filter,
    leaky_relu,
    normalize_second_moment,
    upsample2d,
)


def test_the_filter_is_the_normalised_binomial():
    kernel = fir_filter()
    assert kernel.sum().item() == pytest.approx(1)
    line = torch.tensor([1.0, 3, 3, 1]) / 8
    assert torch.allclose(kernel, torch.outer(line, line))


def test_two_passes_equal_the_full_kernel():
    x = torch.randn(2, 3, 7, 5)
    kernel = fir_filter()
    direct = F.conv2d(F.pad(x, (2, 1, 2, 1)), kernel.expand(3, 1, 4, 4), groups=3)
    assert torch.allclose(filter2d(x, kernel, (2, 1)), direct, atol=1e-6)
    assert torch.allclose(filter2d(x, kernel, (2, 1), gain=4), direct * 4, atol=1e-5)


def test_upsampling_doubles_and_keeps_a_constant():
    x = torch.full((1, 2, 6, 4), 0.7)
    y = upsample2d(x, fir_filter())
    assert y.shape == (1, 2, 12, 8)
    assert torch.allclose(y[..., 2:-2, 2:-2], torch.tensor(0.7))
    # A single sample spreads as the kernel with gain 4, about itself.
    point = torch.zeros(1, 1, 5, 5)
    point[0, 0, 2, 2] = 1
    spread = upsample2d(point, fir_filter())
    assert torch.allclose(spread[0, 0, 3:7, 3:7], fir_filter() * 4)
    assert spread.sum().item() == pytest.approx(4)


@pytest.mark.parametrize(("size", "pad"), [(3, 1), (1, 0)])
def test_convolution_keeps_doubles_and_halves(size, pad):
    x, weight, kernel = torch.randn(2, 3, 8, 8), torch.randn(5, 3, size, size), fir_filter()
    assert torch.allclose(conv2d_resample(x, weight, kernel), F.conv2d(x, weight, padding=pad))
    assert conv2d_resample(x, weight, kernel, down=True).shape == (2, 5, 4, 4)
    if size == 3:
        assert conv2d_resample(x, weight, kernel, up=True).shape == (2, 5, 16, 16)


def test_halving_a_constant_keeps_it():
    x, one = torch.full((1, 1, 12, 12), 0.3), torch.ones(1, 1, 1, 1)
    y = conv2d_resample(x, one, fir_filter(), down=True)
    assert torch.allclose(y[..., 1:-1, 1:-1], torch.tensor(0.3))


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulation_equals_one_convolution_per_sample(up, demodulate):
    """Karras 2020a, eq. 1 and 3: weights scaled by s and normalised, for each sample."""
    torch.manual_seed(3)
    x, weight = torch.randn(3, 4, 6, 6), torch.randn(5, 4, 3, 3)
    styles, kernel = torch.randn(3, 4) + 1, fir_filter()
    ours = modulated_conv2d(x, weight, styles, kernel, up=up, demodulate=demodulate)
    for n in range(3):
        own = weight * styles[n].view(1, 4, 1, 1)
        if demodulate:
            own = own / (own.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        alone = conv2d_resample(x[n : n + 1], own, kernel, up=up)
        assert torch.allclose(ours[n : n + 1], alone, atol=1e-5)


def test_demodulation_gives_unit_deviation():
    torch.manual_seed(4)
    x, weight = torch.randn(1, 64, 32, 32), torch.randn(32, 64, 3, 3)
    y = modulated_conv2d(x, weight, torch.rand(1, 64) * 5 + 0.1, fir_filter())
    assert y[..., 1:-1, 1:-1].std().item() == pytest.approx(1, abs=0.1)


def test_minibatch_deviation_is_that_of_each_group():
    torch.manual_seed(5)
    x = torch.randn(8, 3, 2, 2)
    y = minibatch_stddev(x, group_size=4)
    assert y.shape == (8, 4, 2, 2)
    assert torch.equal(y[:, :3], x)
    # Groups are every other sample: 0, 2, 4, 6 and 1, 3, 5, 7.
    for first in (0, 1):
        members = x[first::2]
        deviation = members.var(dim=0, unbiased=False).add(1e-8).sqrt().mean()
        assert torch.allclose(y[first::2, 3], deviation)


def test_minibatch_deviation_of_equal_samples_is_zero():
    y = minibatch_stddev(torch.randn(1, 2, 4, 4).repeat(3, 1, 1, 1))
    assert y[:, 2].max().item() == pytest.approx(0, abs=2e-4)


def test_rows_are_scaled_to_unit_mean_square():
    x = normalize_second_moment(torch.randn(4, 9) * 7)
    assert torch.allclose(x.square().mean(dim=1), torch.ones(4))


def test_leaky_relu_scales_and_clamps():
    x = torch.tensor([-10.0, -1, 1, 10])
    expected = torch.tensor([-2, -0.2, 1, 10]) * math.sqrt(2)
    assert torch.allclose(leaky_relu(x), expected)
    assert torch.allclose(leaky_relu(x, clamp=3.0), expected.clamp(-3, 3))


@pytest.mark.parametrize("multiplier", [1.0, 0.01])
def test_equalized_layers_start_with_unit_variance(multiplier):
    """The multiplier changes how fast a layer learns, not what it computes at the start."""
    torch.manual_seed(6)
    layer = FullyConnected(256, 512, lr_multiplier=multiplier)
    assert layer.weight.std().item() == pytest.approx(1 / multiplier, rel=0.02)
    assert layer(torch.randn(64, 256)).std().item() == pytest.approx(1, abs=0.05)
