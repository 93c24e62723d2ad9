"""A tiny generator and discriminator with labels."""

from typing import Any

import pytest
import torch

from models_core.stylegan2 import Discriminator, Generator

TAGS = {"hair colour": {"pink hair": 0.5, "black hair": 0.5}, "beard": {"full beard": 0.2}}
RULES = [{"when": {"beard": ["full beard"]}, "then": {"hair colour": ["black hair"]}}]
CONFIG: dict[str, Any] = {
    "z_dim": 8,
    "c_dim": 3,
    "w_dim": 12,
    "img_resolution": 16,
    "img_channels": 3,
    "mapping_kwargs": {"num_layers": 2},
    "synthesis_kwargs": {"channel_base": 128, "channel_max": 16, "use_noise": False},
}


@pytest.fixture
def G() -> Generator:
    torch.manual_seed(0)
    generator = Generator(**CONFIG).eval()
    generator.mapping.w_avg.normal_()
    return generator


@pytest.fixture
def D() -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(3, 16, channel_base=128, channel_max=16)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1]])
