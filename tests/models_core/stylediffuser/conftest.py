"""A whole StyleDiffuser, every component real and tiny."""

import pytest
import torch
from diffusers import AutoencoderKL

from models_core.enhancer.components import (
    build_scheduler,
    build_text_encoder,
    build_tokenizer,
    build_unet,
)
from models_core.stylediffuser.adapter import StyleAdapter
from models_core.stylediffuser.pipeline import StyleDiffuserPipeline
from models_core.stylediffuser.prototype import Prototype
from models_core.training.autoencoder import build_autoencoder

TAGS = ["pink hair", "blue hair", "smiling"]


def make_vae() -> AutoencoderKL:
    net = {"channels": [8, 8, 16], "layers": 1, "latent_channels": 4, "groups": 4}
    return build_autoencoder({**net, "image_size": 32})


def make_pipeline() -> StyleDiffuserPipeline:
    torch.manual_seed(0)
    text = {"width": 16, "layers": 1, "heads": 2, "max_length": 8}
    tokenizer = build_tokenizer(["toon style", *TAGS], text["max_length"])
    unet = build_unet(
        {
            "latent_size": 8,
            "channels": [8, 16],
            "attention": [False, True],
            "layers": 1,
            "head_dim": 8,
            "groups": 4,
        },
        4,
        text["width"],
    )
    generator = {
        "z_dim": 8,
        "c_dim": len(TAGS),
        "w_dim": 8,
        "img_resolution": 16,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": {"channel_base": 128, "channel_max": 16},
    }
    prototype = Prototype(generator, TAGS)
    return StyleDiffuserPipeline(
        vae=make_vae(),
        text_encoder=build_text_encoder(len(tokenizer), text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=build_scheduler(),
        prototype=prototype,
        adapter=StyleAdapter.fitting(prototype.G, unet, tokens=2),
    )


def stirred(pipeline: StyleDiffuserPipeline) -> StyleDiffuserPipeline:
    """With an adapter that has left its initialisation."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in pipeline.adapter.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return pipeline


@pytest.fixture
def pipeline() -> StyleDiffuserPipeline:
    return make_pipeline()


@pytest.fixture
def trained(pipeline: StyleDiffuserPipeline) -> StyleDiffuserPipeline:
    return stirred(pipeline)
