"""Each augmentation against its definition, and all of them by their gradients."""

import math

import pytest
import torch
from torch import Tensor

from models_core.stylegan2.ada import CLASSES, DEFAULT_CLASSES, Augmentation
from models_core.stylegan2.ada.blit import copy_pixels
from models_core.stylegan2.ada.colour import colour_transforms, hue_rotation, transform
from models_core.stylegan2.ada.corruption import cutout, noise
from models_core.stylegan2.ada.edges import fold, pad
from models_core.stylegan2.ada.filtering import (
    EXPECTED_POWER,
    SYM2,
    apply_gains,
    band_filters,
    band_gains,
)
from models_core.stylegan2.ada.geometry import SYM6, inverse_transforms, resample


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(4, 3, 16, 16) * 2 - 1


def smooth(size: int) -> Tensor:
    """A picture without detail finer than the filters pass. [1, 1, size, size]"""
    line = torch.linspace(0, 2 * math.pi, size)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return (torch.sin(x) * torch.cos(0.5 * y) + 0.3 * torch.sin(y)).view(1, 1, size, size)


def test_positions_beyond_an_edge_are_mirrored():
    assert fold(torch.arange(-5, 9), 4).tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    row = torch.arange(4.0).expand(1, 1, 2, 4)
    assert pad(row, 7).shape == (1, 1, 16, 18)
    assert pad(row, 2)[0, 0, 0].tolist() == [2, 1, 0, 1, 2, 3, 2, 1]


@pytest.mark.parametrize("name", CLASSES)
def test_p_is_the_share_of_images_a_class_touches(name):
    """With p = 0 all stay as they are; with a small p, most do."""
    torch.manual_seed(1)
    images = (torch.rand(400, 3, 8, 8) * 2 - 1).double()
    assert Augmentation([name])(images, 0.0) is images
    # How many independent transformations of a class leave a trace in about every case.
    traces = {"blit": 2.1, "geometry": 4, "colour": 4.5, "filter": 4, "noise": 1, "cutout": 1}
    same = torch.isclose(CLASSES[name](images, 0.1), images, atol=1e-6).flatten(1).all(dim=1)
    expected = 1 - (1 - 0.1) ** traces[name]
    assert 1 - same.float().mean().item() == pytest.approx(expected, abs=0.07)


@pytest.mark.parametrize("name", CLASSES)
def test_gradients_of_first_and_second_order_are_right(name):
    torch.manual_seed(2)
    x = torch.rand(2, 3, 6, 6, dtype=torch.double, requires_grad=True)

    def augmented(x: Tensor) -> Tensor:
        torch.manual_seed(3)  # every evaluation draws the same
        # Some pixels suffice; squared, so that the second derivative is not zero.
        return CLASSES[name](x, 0.9)[:, :, 1:4:2, :4:3].square().sum(dim=1)

    assert torch.autograd.gradcheck(augmented, x, fast_mode=True)
    y = torch.rand(1, 3, 4, 4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(augmented, y, fast_mode=True)


def test_the_pipeline_has_the_paper_s_order_and_classes(images):
    assert list(CLASSES) == ["blit", "geometry", "colour", "filter", "noise", "cutout"]
    assert Augmentation().steps == [CLASSES[name] for name in DEFAULT_CLASSES]
    assert Augmentation(["cutout", "blit"]).steps == [CLASSES["blit"], CLASSES["cutout"]]
    out = Augmentation(list(CLASSES))(images, 1.0)
    assert out.shape == images.shape and out.isfinite().all()
    with pytest.raises(ValueError, match="no augmentation 'blur'; there are blit"):
        Augmentation(["blur"])


def test_each_image_is_changed_in_its_own_way(images):
    same = images[:1].repeat(4, 1, 1, 1)
    for name in ("geometry", "colour", "filter", "noise"):
        out = CLASSES[name](same, 1.0)
        assert not torch.allclose(out[0], out[1], atol=1e-2)


def test_blitting_copies_pixels(images):
    none, no_shift = torch.zeros(4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.long)
    assert torch.equal(copy_pixels(images, none, none, no_shift), images)
    mirrored = copy_pixels(images, none + 1, none, no_shift)
    assert torch.equal(mirrored, images.flip(3))
    for quarters in range(4):
        turned = copy_pixels(images, none, none + quarters, no_shift)
        assert torch.equal(turned, images.rot90(-quarters, (2, 3)))
    both = copy_pixels(images, none + 1, none + 1, no_shift)
    assert torch.equal(both, images.flip(3).rot90(-1, (2, 3)))
    shifted = copy_pixels(images, none, none, no_shift + torch.tensor([[3], [-2]]))
    assert torch.equal(shifted[..., :-2, 3:], images[..., 2:, :-3])
    assert torch.equal(shifted[..., :-2, 2], images[..., 2:, 1])  # mirrored about the edge


@pytest.mark.parametrize("taps", [SYM2, SYM6])
def test_wavelets_are_orthonormal_to_their_even_shifts(taps):
    h = torch.tensor(taps, dtype=torch.double)
    assert h.sum().item() == pytest.approx(math.sqrt(2), abs=1e-10)
    for shift in range(0, len(h), 2):
        product = (h[: len(h) - shift] * h[shift:]).sum().item()
        assert product == pytest.approx(1.0 if shift == 0 else 0.0, abs=1e-10)


def affine(*rows: list[float]) -> Tensor:
    return torch.tensor([rows])


def test_resampling_without_a_transformation_changes_nothing(images):
    identity = affine([1.0, 0, 0], [0, 1, 0]).expand(4, 2, 3)
    assert torch.allclose(resample(images, identity), images, atol=1e-4)


def test_resampling_shifts_turns_and_scales():
    picture = smooth(32)
    quarter = resample(picture, affine([0.0, 1, 0], [-1, 0, 0]))
    assert torch.allclose(quarter, picture.rot90(-1, (2, 3)), atol=0.02)
    # A source 4 pixels to the right: the picture moves 4 pixels to the left.
    moved = resample(picture, affine([1.0, 0, 4 / 32], [0, 1, 0]))
    assert torch.allclose(moved[..., :-4], picture[..., 4:], atol=0.01)
    halves = resample(picture, affine([1.0, 0, 0.5 / 32], [0, 1, 0]))
    between = (picture[..., 4:-5] + picture[..., 5:-4]) / 2
    assert torch.allclose(halves[..., 4:-5], between, atol=0.02)
    # Beyond the edge lies the mirrored picture.
    assert torch.allclose(moved[..., -3], picture[..., -3], atol=0.02)
    small = resample(picture, affine([2.0, 0, 0], [0, 2, 0]))
    wanted = torch.nn.functional.avg_pool2d(picture, 2)
    assert torch.allclose(small[..., 10:22, 10:22], wanted[..., 2:14, 2:14], atol=0.03)


def test_transforms_undo_the_drawn_ones_and_have_the_paper_s_shares():
    torch.manual_seed(4)
    still = inverse_transforms(5, 0.0)
    assert torch.equal(still, affine([1.0, 0, 0], [0, 1, 0]).expand(5, 2, 3))
    many = inverse_transforms(20000, 0.4)
    turned = (many[:, 0, 1] != 0).float().mean().item()
    assert turned == pytest.approx(0.4, abs=0.02)  # one rotation or both
    moved = many[:, :, 2].abs().sum(dim=1) != 0
    assert moved.float().mean().item() == pytest.approx(0.4, abs=0.02)
    # Rotation and stretching keep areas, so the determinant is the scaling's alone.
    scale = torch.linalg.det(many[:, :, :2]).log2() / -2
    scaled = scale.abs() > 1e-5
    assert scaled.float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert scale[scaled].std().item() == pytest.approx(0.2, abs=0.01)


def test_colours_change_by_the_paper_s_amounts():
    torch.manual_seed(5)
    assert torch.equal(colour_transforms(3, 0.0), torch.eye(3, 4).expand(3, 3, 4))
    grey = torch.ones(3) / math.sqrt(3)
    m = colour_transforms(20000, 1.0)
    luma = torch.einsum("i,nij,j->n", grey, m[:, :, :3], grey)  # contrast, with the flip's sign
    assert luma.abs().log2().std().item() == pytest.approx(0.5, abs=0.02)
    assert (luma < 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    # Hue and saturation act on the plane across, where contrast does too.
    chroma = torch.linalg.det(m[:, :, :3]).abs() / luma.abs().pow(3)
    assert (chroma.log2() / 2).std().item() == pytest.approx(1.0, abs=0.03)
    # Every channel is shifted alike, by the brightness times what became of luma.
    shift = m[:, :, 3]
    assert torch.allclose(shift[:, 0], shift[:, 2], atol=1e-4)
    assert (shift[:, 0] / luma).std().item() == pytest.approx(0.2, abs=0.01)


def test_hue_turns_about_grey_and_greys_stay(images):
    third = hue_rotation(torch.tensor([2 * math.pi / 3]))
    rgb = torch.tensor([[0.9, 0.1, -0.4]])
    assert torch.allclose(third[0] @ rgb[0], torch.tensor([-0.4, 0.9, 0.1]), atol=1e-6)
    flat = images[:, :1].expand(4, 3, 16, 16)
    turned = torch.cat([hue_rotation(torch.rand(4) * 6), torch.zeros(4, 3, 1)], dim=2)
    assert torch.allclose(transform(flat, turned), flat, atol=1e-6)


def test_bands_split_the_frequencies_and_add_up(images):
    bands = band_filters()
    delta = torch.zeros(bands.shape[1], dtype=torch.double)
    delta[len(delta) // 2] = 1
    assert torch.allclose(bands.sum(dim=0), delta, atol=1e-12)
    assert torch.allclose(bands, bands.flip(1), atol=1e-12)  # no delay
    middle = torch.tensor([1 / 16, 3 / 16, 3 / 8, 3 / 4]) * math.pi
    tap = torch.arange(bands.shape[1]) - bands.shape[1] // 2
    response = (bands @ torch.cos(tap.double().unsqueeze(1) * middle)).abs()
    assert response.argmax(dim=0).tolist() == [0, 1, 2, 3]
    assert torch.allclose(apply_gains(images, torch.ones(4, 4)), images, atol=1e-5)
    kept = apply_gains(images, torch.tensor([[1.0, 0, 0, 0]]).expand(4, 4))
    assert kept.std() < 0.4 * images.std()


def test_gains_keep_the_expected_power():
    torch.manual_seed(6)
    assert torch.equal(band_gains(3, 0.0), torch.ones(3, 4))
    power = torch.tensor(EXPECTED_POWER)
    gains = band_gains(1000, 0.2)
    only = (gains.log() - gains.log().median(dim=1, keepdim=True).values).abs() > 1e-5
    single = gains[only.sum(dim=1) == 1]  # one band was drawn
    assert len(single) > 200
    assert torch.allclose(single.square() @ power, torch.ones(len(single)), atol=1e-5)


def test_noise_has_a_half_normal_strength(images):
    torch.manual_seed(7)
    black = torch.zeros(3000, 3, 8, 8)
    strength = noise(black, 1.0).flatten(1).std(dim=1)
    assert strength.mean().item() == pytest.approx(0.1 * math.sqrt(2 / math.pi), rel=0.05)
    assert torch.equal(noise(images, 0.0), images)


def test_a_cut_is_half_as_wide_and_high():
    torch.manual_seed(8)
    out = cutout(torch.ones(500, 3, 16, 16), 1.0)
    inside = (out[:, 0] == 0).flatten(1).sum(dim=1)
    assert inside.max() == 64 and inside.min() >= 16
    centred = (out[:, 0, 8, 8] == 0).float().mean().item()
    assert centred == pytest.approx(0.25, abs=0.06)
    assert set(out.unique().tolist()) == {0.0, 1.0}
