"""Opening generators from the folders there are, and their seeds and tags."""

import json

import pytest
import torch

from models_core.data.dataset import ImageFolder
from models_core.latent.space import LatentSpace
from models_core.releases import bundle
from models_core.stylediffuser.prototype import Prototype
from models_core.stylegan2 import checkpoint
from models_core.stylegan2.checkpoint import CheckpointError
from tests.models_core.latent.conftest import CONFIG, new_generator


@pytest.fixture
def prototype(space, tmp_path):
    """pipeline/prototype of a release, as diffusers writes it."""
    folder = tmp_path / "release" / "pipeline" / "prototype"
    component = Prototype(CONFIG, space.tags)
    component.G.load_state_dict(space.generator.state_dict())
    component.save_pretrained(folder)
    return folder


def test_truncation_reaches_the_first_layers_alone_up_to_the_cutoff(space):
    full, cut = space.from_seeds([1]), space.from_seeds([1], truncation=0.0, cutoff=2)
    assert torch.allclose(cut[:, :2], space.w_avg.expand(1, 2, -1))
    assert torch.equal(cut[:, 2:], full[:, 2:])


def test_a_release_s_prototype_finds_its_tags(space, prototype):
    release = {"tags": space.about.tags}
    (prototype.parent.parent / bundle.MANIFEST).write_text(json.dumps(release))
    opened = LatentSpace.open(prototype)
    assert opened.tags == space.tags
    assert torch.allclose(opened.from_seeds([4]), space.from_seeds([4]), atol=1e-5)
    assert opened.fingerprint() == space.fingerprint()


def test_a_prototype_alone_asks_for_its_tags(space, prototype, data):
    with pytest.raises(CheckpointError, match="--tags-from"):
        LatentSpace.open(prototype).from_seeds([4])
    opened = LatentSpace.open(prototype, tags_from=data / "dataset.json")
    assert opened.traits([7]) == space.traits([7])


def test_another_data_set_s_tags_are_refused(prototype, tmp_path):
    nameless = tmp_path / "nameless"
    checkpoint.save(CONFIG, new_generator().state_dict(), nameless)
    other = tmp_path / "other.json"
    other.write_text('{"tags": {"colour": {"red": 1}}}')
    with pytest.raises(CheckpointError, match="are not the generator's: 1 against 5"):
        LatentSpace.open(prototype, tags_from=other)
    with pytest.raises(CheckpointError, match="does not say how often"):
        LatentSpace.open(nameless).from_seeds([0])
    with pytest.raises(CheckpointError, match="1 against 5"):
        LatentSpace.open(nameless, tags_from=other)
    other.write_text("[]")
    with pytest.raises(CheckpointError, match="holds no groups of tags"):
        LatentSpace.open(prototype, tags_from=other)


def test_a_damaged_prototype_is_told(prototype, tmp_path):
    (prototype / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError, match="copy it again"):
        LatentSpace.open(prototype)
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        LatentSpace.open(tmp_path)


def test_the_fingerprint_is_the_weights_not_their_precision(space, tmp_path):
    checkpoint.save(CONFIG, space.generator.state_dict(), tmp_path / "half")
    assert LatentSpace.open(tmp_path / "half").fingerprint() == space.fingerprint()
    checkpoint.save(CONFIG, new_generator(seed=9).state_dict(), tmp_path / "other")
    assert LatentSpace.open(tmp_path / "other").fingerprint() != space.fingerprint()


def test_labels_of_an_unconditional_generator_are_empty(plain_gan):
    space = LatentSpace.open(plain_gan)
    assert space.from_seeds([0, 1]).shape == (2, space.num_ws, 12)
    assert space.traits([0]) == [()]


def test_the_data_set_s_labels_are_the_generator_s(space, data):
    dataset = ImageFolder(data)
    assert torch.equal(space.labels(dataset.tags), dataset.labels)
