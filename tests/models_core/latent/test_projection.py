"""Optimising w, and the likeness it goes by."""

import pytest
import torch

from models_core.critic.critic import Critic
from models_core.critic.network import CriticNetwork
from models_core.latent.likeness import Likeness, open_judge, pixel_error
from models_core.latent.projection import Optimization, mean_ws, optimize, ramp


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("critic")
    Critic(CriticNetwork(32, (8, 16))).save(folder)
    return open_judge(str(folder))


def test_pixel_error_is_four_squares_and_an_absolute():
    a, b = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5)
    assert pixel_error(a, b).tolist() == pytest.approx([1.5, 1.5])


def test_of_a_mask_only_the_inside_counts():
    a, b, mask = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., :2] = 1
    b[..., 2:] = 1
    assert pixel_error(a, b, mask).item() == 0
    b[..., :1] = 0.5  # half of the inside
    assert pixel_error(a, b, mask).item() == pytest.approx(0.75)
    assert pixel_error(a, b, torch.zeros(1, 1, 8, 8)).item() == 0


def test_the_judge_s_features_tell_pictures_apart(judge):
    a = torch.rand(3, 3, 48, 48)  # of another size than the critic's own
    likeness = Likeness(judge, 2.0)
    assert likeness.features(a, a).abs().max() < 1e-6
    near, far = likeness.features(a, a + 0.01), likeness.features(a, torch.rand_like(a))
    assert (near < far).all() and (near > 0).all()
    assert torch.allclose(likeness(a, -a), pixel_error(a, -a) + likeness.features(a, -a))
    assert torch.equal(Likeness()(a, -a), pixel_error(a, -a))
    a.requires_grad_(True)
    likeness.features(a, torch.rand_like(a)).sum().backward()
    assert a.grad is not None and a.grad.abs().sum() > 0
    assert all(p.grad is None for p in judge.parameters())


def test_the_shared_extractor_judges_too():
    features = open_judge("efficientnet-lite0")
    a = torch.rand(1, 3, 64, 64, requires_grad=True)
    Likeness(features).features(a, torch.rand(1, 3, 64, 64)).sum().backward()
    assert a.grad is not None and a.grad.isfinite().all() and a.grad.abs().sum() > 0


def test_an_unknown_judge_is_told():
    assert open_judge(None) is None
    with pytest.raises(ValueError, match="no features 'vgg' \\(wanted: a critic's folder"):
        open_judge("vgg")


def images_of(space, seeds):
    return space.synthesize(space.from_seeds(seeds))


def test_optimisation_finds_own_samples_again(space, judge):
    images = images_of(space, [11, 12])
    start = mean_ws(space, 2)
    likeness = Likeness(judge, 0.1)
    steps = []

    def progress(*now):
        steps.append(now)

    found = optimize(space, images, start, likeness, Optimization(40, lr=0.3, stay=0), progress)
    before = likeness(space.synthesize(start), images)
    after = likeness(space.synthesize(found), images)
    assert (after < 0.5 * before).all()
    assert [step for step, _, _ in steps] == list(range(41))
    assert steps[-1][2] == pytest.approx(after.mean().item(), rel=1e-3)
    losses = [loss for _, _, loss in steps]
    assert losses == sorted(losses, reverse=True)  # the best so far


def test_in_w_all_layers_move_together_and_stay_holds(space):
    images, start = images_of(space, [11]), mean_ws(space, 1)
    free = optimize(space, images, start, Likeness(), Optimization(10, 0.2, "w", stay=0))
    moved = free - start
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-5)
    held = optimize(space, images, start, Likeness(), Optimization(10, 0.2, "w", stay=1e4))
    assert (held - start).norm() < 0.5 * moved.norm()


def test_a_picture_s_way_does_not_depend_on_its_company(space):
    images, start = images_of(space, [11, 12, 13]), mean_ws(space, 3)
    how = Optimization(4)
    together = optimize(space, images, start, Likeness(), how)
    alone = optimize(space, images[1:2], start[1:2], Likeness(), how)
    assert torch.allclose(together[1:2], alone, atol=1e-3)


def test_it_never_gets_worse_and_stops_when_told(space):
    start = space.from_seeds([11])
    images = space.synthesize(start)  # the start is the answer
    found = optimize(space, images, start, Likeness(), Optimization(5, lr=5.0))
    assert torch.equal(found, start)
    steps = []
    optimize(
        space,
        images,
        start,
        Likeness(),
        Optimization(50),
        lambda s, of, x: steps.append(s) or s == 3,
    )
    assert steps == [0, 1, 2, 3]


def test_the_rate_ramps_up_and_down():
    assert ramp(0) == pytest.approx(0.2)
    assert ramp(0.5) == 1
    assert ramp(1) == 0
    assert ramp(0.9) < ramp(0.8) < 1


def test_senseless_settings_are_told():
    with pytest.raises(ValueError, match="1 to 100,000 steps"):
        Optimization(steps=0)
    with pytest.raises(ValueError, match="learning rate"):
        Optimization(lr=0)
