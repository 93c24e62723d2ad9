"""The adapter alone: nothing at first, and it fits whatever it joins."""

import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from models_core.stylediffuser.adapter import (
    StyleAdapter,
    cross_attentions,
    fit_features,
    is_untouched,
    nearest_resolution,
    unet_residuals,
)
from models_core.stylediffuser.pipeline import supervised_unet
from models_core.stylegan2 import Generator
from tests.models_core.stylediffuser.conftest import make_pipeline


def conditions(pipeline):
    ws = pipeline.prototype.map(torch.randn(2, 8), [["pink hair"], []])
    _, features = pipeline.prototype.draw(ws)
    return ws, features


def test_at_initialisation_the_unet_is_exactly_unchanged():
    pipeline = make_pipeline()
    plain = make_pipeline().unet
    plain.set_attn_processor(AttnProcessor2_0())
    plain.load_state_dict(pipeline.unet.state_dict())
    adapter = pipeline.adapter
    assert is_untouched(adapter)
    ws, features = conditions(pipeline)
    x, text, t = torch.randn(2, 4, 8, 8), torch.randn(2, 8, 16), torch.tensor(500)
    hidden = torch.cat([text, adapter.style_tokens(ws)], dim=1)
    with torch.no_grad():
        expected = plain(x, t, text).sample
        supervised = supervised_unet(pipeline.unet, x, t, hidden, adapter.residuals(features))
    assert torch.equal(expected, supervised)


def test_gradients_reach_both_conditionings_from_the_start(pipeline):
    ws, features = conditions(pipeline)
    adapter = pipeline.adapter
    hidden = torch.cat([torch.randn(2, 8, 16), adapter.style_tokens(ws)], dim=1)
    out = supervised_unet(
        pipeline.unet,
        torch.randn(2, 4, 8, 8),
        torch.tensor(10),
        hidden,
        adapter.residuals(features),
    )
    out.square().mean().backward()
    assert all(conv.conv.weight.grad.any() for conv in adapter.convs)
    assert all(layer.to_v.weight.grad.any() for layer in adapter.attention)


def test_the_unets_own_state_is_not_touched(pipeline):
    assert not [key for key in pipeline.unet.state_dict() if "processor" in key]


def test_sizes_come_from_the_two_configurations(pipeline):
    for resolution in (8, 32, 64):
        generator = Generator(
            8, 0, 24, resolution, synthesis_kwargs={"channel_base": 256, "channel_max": 16}
        )
        adapter = StyleAdapter.fitting(generator, pipeline.unet)
        features: dict = {}
        ws = generator.mapping(torch.randn(1, 8))
        generator.synthesis(ws, features=features)
        shapes = [tuple(r.shape[1:]) for r in adapter.residuals(features)]
        assert shapes == [(c, s, s) for c, s in unet_residuals(pipeline.unet)]
        assert adapter.style_tokens(ws).shape == (1, 4, 16)
    assert len(adapter.attention) == len(cross_attentions(pipeline.unet))


def test_features_are_folded_without_loss():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    folded = fit_features(x, 2)
    assert folded.shape == (1, 4, 2, 2)
    assert sorted(folded.flatten().tolist()) == list(range(16))
    assert fit_features(x, 8).shape == (1, 1, 8, 8)
    assert nearest_resolution([4, 8, 16], 4) == 8
    assert nearest_resolution([4, 8], 32) == 8
