"""Two subjects to one, and one to many."""

import numpy as np
import pytest
import torch

from models_core.latent.encoder import Encoder, EncoderConfig, EncoderNetwork
from models_core.stylediffuser.fusion import Fusion, Subject, fused_tags, slerp
from models_core.stylediffuser.pipeline import Aborted, Sampling
from tests.models_core.stylediffuser.test_pipeline import pixels

QUICK = Sampling(steps=2, strength=0.5)
ONE, TWO = Subject(seed=1, tags=["pink hair", "smiling"]), Subject(seed=2, tags=["blue hair"])


class KnownEncoder:
    """Knows the w's of the pictures it was told."""

    def __init__(self, pairs) -> None:
        self.pairs = pairs

    def encode(self, images):
        return torch.stack([ws for x in images for p, ws in self.pairs if torch.equal(p, x)])


@pytest.fixture
def fusion(trained) -> Fusion:
    return Fusion(trained, sampling=QUICK)


def test_the_ends_are_each_subjects_own_and_between_is_neither(fusion):
    one, half, two = pixels(fusion.fuse(ONE, TWO, [0, 0.5, 1], seed=9).images)
    assert (one == pixels(fusion.vary(ONE, [9]).images)[0]).all()
    assert (two == pixels(fusion.vary(TWO, [9]).images)[0]).all()
    assert (half != one).any() and (half != two).any()


def test_prototypes_are_of_the_interpolated_w(fusion):
    drawn = fusion.fuse(ONE, TWO, [0.25])
    one, two = fusion.know(ONE), fusion.know(TWO)
    image, _ = fusion.pipeline.prototype.draw(torch.lerp(one.ws, two.ws, 0.25))
    expected = ((image[0].clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(pixels(drawn.prototypes)[0] - expected).max() <= 1


def test_an_avatar_that_is_varied_is_the_one_its_seed_draws(fusion):
    """At hardly any strength a variation is the avatar, seen through the autoencoder."""
    pipe, avatar = fusion.pipeline, fusion.know(ONE, redrawn=True).picture
    drawn = pipe([1], [ONE.tags], steps=2, strength=0.5, truncation=0.8)
    expected = ((avatar[0] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(pixels(drawn.images)[0] - expected).max() <= 1


def test_variations_differ_by_seed_and_move_further_with_strength(fusion):
    first, second = pixels(fusion.vary(ONE, [5, 6]).images)
    assert (first != second).any()
    near = Fusion(fusion.pipeline, sampling=Sampling(steps=2, strength=0.05)).vary(
        Subject(ws=fusion.know(ONE).ws[0], picture=fusion.know(ONE).picture[0]), [5, 6]
    )
    close = pixels(near.images)
    assert np.abs(close[0] - close[1]).mean() < np.abs(first - second).mean()


def test_pictures_are_read_by_the_encoder_or_come_with_their_w(fusion):
    known = fusion.know(ONE)
    subject = Subject(picture=known.picture[0], tags=ONE.tags)
    with pytest.raises(ValueError, match="needs an encoder"):
        fusion.fuse(subject, TWO)
    fusion.encoder = KnownEncoder([(known.picture[0], known.ws[0])])
    by_encoder = pixels(fusion.fuse(subject, TWO).images)
    given = Subject(ws=known.ws[0], picture=known.picture[0], tags=ONE.tags)
    assert (by_encoder == pixels(fusion.fuse(given, TWO).images)).all()


def test_a_fusion_is_watched_and_stopped_as_drawing_is(fusion):
    seen = []
    fusion.fuse(ONE, TWO, [0.2, 0.8], callback=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(Aborted):
        fusion.vary(ONE, [1], callback=lambda done, of: True)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: f.fuse(ONE, TWO, [1.5]), "shares are from 0 to 1"),
        (lambda f: f.vary(Subject(ws=torch.zeros(3, 3)), [1]), "a w of this generator is"),
        (lambda f: Subject(), "either a seed, or a w or picture"),
        (lambda f: Subject(seed=1, ws=torch.zeros(1)), "either a seed"),
    ],
)
def test_bad_subjects_are_named(fusion, make, said):
    with pytest.raises(ValueError, match=said):
        make(fusion)


def test_slerp_keeps_to_the_sphere():
    torch.manual_seed(0)
    a, b = torch.randn(2, 4, 16, 16), torch.randn(2, 4, 16, 16)
    half = slerp(a, b, 0.5)
    mean = (a.flatten(1).norm(dim=1) + b.flatten(1).norm(dim=1)) / 2
    assert torch.allclose(half.flatten(1).norm(dim=1), mean, rtol=1e-4)
    assert torch.lerp(a, b, 0.5).norm() < 0.8 * half.norm()
    assert torch.equal(slerp(a, b, 0), a) and torch.equal(slerp(a, b, 1), b)
    assert torch.allclose(slerp(a, a, 0.3), a, atol=1e-5)


def test_tags_of_a_fusion_are_the_nearers_or_the_common_ones():
    first, second = ["pink hair", "smiling"], ["blue hair", "smiling"]
    assert fused_tags(first, second, 0.2) == first
    assert fused_tags(first, second, 0.8) == second
    assert fused_tags(first, second, 0.5) == ["smiling"]


def test_a_trained_encoders_class_serves_as_it_is(fusion):
    G = fusion.pipeline.prototype.G
    config = EncoderConfig(G.img_resolution, G.num_ws, G.w_dim, widths=(8, 16), hidden=8)
    fusion.encoder = Encoder(EncoderNetwork(config), generator="")
    picture = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    (drawn,) = fusion.fuse(Subject(picture=picture), TWO).images
    assert drawn.size == (32, 32)
