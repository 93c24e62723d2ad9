"""A tiny data set, a tiny generator with its tags, and tiny encoders, as folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models_core.data.build import build
from models_core.data.dataset import ImageFolder
from models_core.data.recipe import Recipe
from models_core.latent.component import EncoderConfig
from models_core.latent.encoder import Encoder, EncoderNetwork
from models_core.latent.space import LatentSpace
from models_core.latent.style import StyleEncoder, StyleEncoderNetwork
from models_core.stylegan2 import Generator, checkpoint
from tests.models_core.data.conftest import write_small

SIZE = 32
CONFIG = {
    "z_dim": 8,
    "c_dim": 5,
    "w_dim": 12,
    "img_resolution": SIZE,
    "img_channels": 3,
    "mapping_kwargs": {"num_layers": 2, "lr_multiplier": 1.0},
    "synthesis_kwargs": {"channel_base": 512, "channel_max": 16, "use_noise": False},
}


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A built data set. Look, do not touch."""
    folder = tmp_path_factory.mktemp("latent")
    build(Recipe.read(write_small(folder, count=60)), folder / "data", processes=1)
    return folder / "data"


def new_generator(seed: int = 0, **changes) -> Generator:
    torch.manual_seed(seed)
    generator = Generator(**{**CONFIG, **changes}).eval()
    for name, parameter in generator.named_parameters():
        if name.endswith("torgb.weight"):
            parameter.data *= 0.3  # untrained drawings would leave the range of pixels
    c = torch.eye(generator.c_dim).repeat(40, 1) if generator.c_dim else torch.zeros(200, 0)
    with torch.no_grad():
        w = generator.mapping(torch.randn(len(c), generator.z_dim), c)[:, 0]
    generator.mapping.w_avg.copy_(w.mean(dim=0))
    return generator


@pytest.fixture(scope="session")
def gan(data, tmp_path_factory) -> Path:
    """A checkpoint folder whose tags are the data set's."""
    folder = tmp_path_factory.mktemp("gan")
    tags = ImageFolder(data).summary["tags"]
    assert sum(map(len, tags.values())) == CONFIG["c_dim"]
    state = new_generator().state_dict()
    checkpoint.save(CONFIG, state, folder, tags=tags, dtype=torch.float32)
    return folder


@pytest.fixture(scope="session")
def plain_gan(tmp_path_factory) -> Path:
    """An unconditional one."""
    folder = tmp_path_factory.mktemp("plain")
    config = {**CONFIG, "c_dim": 0}
    checkpoint.save(config, new_generator(c_dim=0).state_dict(), folder, dtype=torch.float32)
    return folder


@pytest.fixture(scope="session")
def space(gan) -> LatentSpace:
    return LatentSpace.open(gan)


def sizes(space: LatentSpace, **changes) -> EncoderConfig:
    values = {"widths": (8, 8, 8), "hidden": 16, **changes}
    return EncoderConfig(space.resolution, space.num_ws, space.generator.w_dim, **values)


@pytest.fixture(scope="session")
def encoder_folder(space, tmp_path_factory) -> Path:
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("encoder")
    Encoder(EncoderNetwork(sizes(space)), space.fingerprint()).save(folder)
    return folder


@pytest.fixture(scope="session")
def style_folder(space, tmp_path_factory) -> Path:
    torch.manual_seed(4)
    network = StyleEncoderNetwork(sizes(space))
    torch.nn.init.normal_(network.head.weight)
    folder = tmp_path_factory.mktemp("style")
    StyleEncoder(network, space.fingerprint()).save(folder)
    return folder


@pytest.fixture
def picture(data, tmp_path) -> Path:
    """A face crop of the generator's size."""
    pixels = ImageFolder(data).pixels("crop", SIZE)
    Image.fromarray(np.array(pixels[0])).save(tmp_path / "face.png")
    return tmp_path / "face.png"
