"""The heuristics by their formulas, and how p follows them."""

import pytest
import torch

from models_core.stylegan2.ada import Strength


def outputs(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1)


def test_r_t_is_the_mean_sign_on_training_images():
    strength = Strength(heuristic="r_t")
    strength.add(outputs(2.0, -1.0, 3.0, 0.5), outputs(-1.0))
    strength.add(outputs(1.0, 1.0, 1.0, -1.0), outputs(-1.0))
    assert strength.overfitting() == pytest.approx((3 - 1 + 3 - 1) / 8)


def test_r_v_places_validation_between_training_and_generated():
    strength = Strength(heuristic="r_v")
    strength.add(outputs(3.0, 1.0), outputs(-2.0, 0.0))
    strength.add_validation(outputs(0.5, 0.7))
    assert strength.needs_validation
    assert strength.overfitting() == pytest.approx((2 - 0.6) / (2 + 1), rel=1e-5)
    like_training, like_generated = Strength(heuristic="r_v"), Strength(heuristic="r_v")
    for other, r in ((like_training, 2.0), (like_generated, -1.0)):
        other.add(outputs(3.0, 1.0), outputs(-2.0, 0.0))
        other.add_validation(outputs(r))
    assert like_training.overfitting() == 0
    assert like_generated.overfitting() == 1


def test_r_v_of_a_blind_discriminator_is_no_overfitting():
    strength = Strength(heuristic="r_v")
    strength.add(outputs(-1.0), outputs(1.0))
    strength.add_validation(outputs(-5.0))
    assert strength.overfitting() == 0


@pytest.mark.parametrize(("sure", "p"), [(1.0, 0.5 + 0.004), (-1.0, 0.5 - 0.004)])
def test_p_moves_by_the_images_seen(sure, p):
    strength = Strength(0.5, "r_t", target=0.6, interval=4, kimg=4)
    for batch in range(4):
        assert not strength.due
        strength.add(outputs(*[sure] * 4), outputs(0.0))
        assert strength.due == (batch == 3)
    assert strength.adjust() == sure
    assert strength.p == pytest.approx(p)
    assert not strength.due and strength.images == 0


def test_p_stays_between_none_and_always():
    strength = Strength(0.999, "r_t", interval=1, kimg=1)
    strength.add(outputs(*[1.0] * 50), outputs(0.0))
    strength.adjust(processes=2)
    assert strength.p == 1
    strength.p = 0.001
    strength.add(outputs(*[-1.0] * 50), outputs(0.0))
    strength.adjust()
    assert strength.p == 0


def test_its_state_goes_on_in_another_process():
    one, two = (Strength(0.3, "r_v", interval=2, kimg=1) for _ in range(2))
    one.add(outputs(1.0, 2.0), outputs(-1.0, -1.0))
    one.add_validation(outputs(-0.5))
    two.load_state_dict(one.state_dict())
    for strength in (one, two):
        strength.add(outputs(3.0, 1.0), outputs(0.0, 0.0))
    assert one.due and two.due
    assert one.adjust() == two.adjust()
    assert one.p == two.p != 0.3


def test_an_unknown_heuristic_is_refused():
    with pytest.raises(ValueError, match="r_t, r_v, not 'fid'"):
        Strength(heuristic="fid")
