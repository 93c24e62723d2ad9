"""The extractors: known outputs, any batch, remembered by content, wrong input refused."""

import hashlib

import numpy as np
import pytest
import torch

from models_core.metrics import features
from models_core.metrics.features import Extractor, open_extractor
from models_core.metrics.inception import InceptionV3, resized


@pytest.fixture(scope="module")
def lite():
    return open_extractor()


def gradient(size: int) -> np.ndarray:
    """Red grows rightwards, green downwards, blue is even."""
    ramp = np.arange(size, dtype=np.uint8) * (256 // size)
    picture = np.full((1, size, size, 3), 128, np.uint8)
    picture[..., 0], picture[..., 1] = ramp, ramp[:, None]
    return picture


def test_efficientnet_is_the_published_one(lite):
    """Values made once with the weights' own published network code."""
    with torch.inference_mode():
        found = lite.network(torch.from_numpy(gradient(256)).permute(0, 3, 1, 2).float())
    assert found.shape == (1, 1280)
    largest = found[0].topk(5)
    assert largest.indices.tolist() == [930, 113, 897, 1006, 689]
    expected = torch.tensor([5.0914, 5.0331, 4.0334, 3.6726, 2.6246])
    torch.testing.assert_close(largest.values, expected, atol=1e-3, rtol=1e-3)
    assert found.mean().item() == pytest.approx(0.085647, abs=1e-4)


def test_features_do_not_depend_on_the_batch(lite):
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (3, 48, 48, 3), dtype=np.uint8)
    together = lite(images)
    assert together.shape == (3, 1280) and together.dtype == torch.float32
    torch.testing.assert_close(lite(images[1:2])[0], together[1], atol=1e-4, rtol=1e-3)


class Counting(torch.nn.Module):
    """Mean colours; counts how often it runs."""

    runs = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        return x.mean((2, 3))


def test_features_are_computed_once_for_the_same_pictures(tmp_path):
    network = Counting()
    extractor = Extractor("mean", network, 3, cache=tmp_path)
    images = np.zeros((70, 4, 4, 3), np.uint8)
    seen = []
    first = extractor(images, lambda done, of: seen.append((done, of)))
    assert seen == [(32, 70), (64, 70), (70, 70)]
    assert torch.equal(extractor(images.copy()), first) and network.runs == 3
    images[69, 0, 0, 0] = 255
    assert extractor(images)[69, 0] > 0 and network.runs == 6


@pytest.mark.parametrize("wrong", [np.zeros((1, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8)])
def test_what_is_no_stack_of_pictures_is_refused(wrong):
    with pytest.raises(ValueError, match="uint8"):
        Extractor("mean", Counting(), 3)(wrong)


def test_unknown_extractors_and_missing_weights_say_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="efficientnet-lite0, inception-v3"):
        open_extractor("vgg")
    with pytest.raises(ValueError, match=r"pt_inception-2015-12-05-6726825d\.pth"):
        open_extractor("inception-v3")
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install"):
        open_extractor()


def test_inception_has_the_standard_shape_and_takes_only_the_standard_file(tmp_path):
    network = InceptionV3()
    # What Inception-v3 has without its two classifiers.
    assert sum(p.numel() for p in network.parameters()) == 21_785_568
    file = tmp_path / "weights.pth"
    torch.save({**network.state_dict(), "fc.bias": torch.zeros(1008)}, file)
    with pytest.raises(ValueError, match="not the standard FID network"):
        open_extractor("inception-v3", file)
    own = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    opened = InceptionV3.open(file, own)
    assert torch.equal(
        opened.Mixed_7c.branch_pool.conv.weight, network.Mixed_7c.branch_pool.conv.weight
    )
    assert opened(torch.zeros(1, 3, 32, 32)).shape == (1, 2048)


def test_resizing_is_tensorflows_first():
    row = torch.tensor([[[[0.0, 10.0, 20.0, 30.0]]]])
    wide = resized(row.expand(1, 1, 4, 4), 8)
    # Pixel i lies at i/2 of the source, not at (i + 1/2)/2 - 1/2; beyond the last it stands still.
    assert wide[0, 0, 0].tolist() == [0, 5, 10, 15, 20, 25, 30, 30]
