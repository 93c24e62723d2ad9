import json

import numpy as np
import pytest
import torch
from PIL import Image

from models_core.critic.calibrate import calibrate
from models_core.critic.critic import BENIGN, Calibration, Critic
from models_core.critic.network import CriticNetwork


@pytest.fixture(scope="module")
def critic():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return Critic(CriticNetwork(32, (16, 24, 32)), Calibration(0.8, 0.1))


def images(count, size=32):
    dice = np.random.default_rng(size)
    return [Image.fromarray(dice.integers(0, 256, (size, size, 3), np.uint8)) for _ in range(count)]


def test_scores_are_probabilities_one_a_picture(critic):
    scores = critic(images(5))
    assert len(scores) == 5 and all(0 < score < 1 for score in scores)
    assert critic([]) == []


def test_a_score_does_not_depend_on_the_company(critic):
    pictures = images(40)
    together = critic(pictures)
    assert [critic([p])[0] for p in pictures[::7]] == pytest.approx(together[::7], abs=1e-5)


def test_pictures_of_any_size_and_tensors_are_taken(critic):
    (picture,) = images(1)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]
    tensor = pixels.float() / 127.5 - 1
    assert critic(tensor) == pytest.approx(critic([picture]), abs=1e-6)
    large = picture.resize((128, 128), Image.Resampling.NEAREST)
    assert len(critic([large, picture.convert("L")])) == 2


def test_a_saved_critic_judges_the_same(critic, tmp_path):
    critic.save(tmp_path / "critic")
    again = Critic.open(tmp_path / "critic")
    assert again.calibration == critic.calibration
    assert next(again.network.parameters()).dtype == torch.float32
    assert again(images(6)) == pytest.approx(critic(images(6)), abs=5e-3)
    assert {p.name for p in (tmp_path / "critic").iterdir()} == {"config.json", "model.safetensors"}


def test_another_component_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"kind": "CompactNetwork"}))
    with pytest.raises(ValueError, match="does not hold a critic"):
        Critic.open(tmp_path)


def test_the_demo_sizes():
    network = CriticNetwork()
    assert 300_000 < sum(p.numel() for p in network.parameters()) < 600_000
    assert network(torch.zeros(2, 3, 128, 128)).shape == (2,)
    with pytest.raises(ValueError, match="multiples of 8"):
        CriticNetwork(widths=(20, 30))


def synthetic_logits(spread):
    dice = torch.Generator().manual_seed(4)
    strengths = torch.cat([torch.zeros(400), torch.rand(800, generator=dice)])
    noise = spread * torch.randn(1200, generator=dice)
    return 3 * torch.logit((1 - strengths).clamp(0.02, 0.98)) + 2 + noise, strengths


def test_calibration_undoes_scale_and_shift():
    logits, strengths = synthetic_logits(0.3)
    scores = calibrate(logits, strengths)(logits)
    middle = (strengths > 0.2) & (strengths < 0.8)
    assert (scores - (1 - strengths))[middle].abs().mean() < 0.05


def test_calibration_keeps_real_art_benign_even_for_a_poor_critic():
    logits, strengths = synthetic_logits(8.0)
    scores = calibrate(logits, strengths)(logits)
    real = scores[strengths == 0]
    assert (real >= BENIGN - 1e-4).float().mean() >= 0.965
