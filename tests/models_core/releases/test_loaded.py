"""A whole release of real, tiny components: build it, open it, generate, score, enlarge."""

import numpy as np
import pytest
import torch
from PIL import Image

from models_core.critic.critic import Critic
from models_core.critic.network import CriticNetwork
from models_core.releases import Aborted, Draft, ReleaseError, open_release
from models_core.releases.build import build_release
from models_core.upscale.upscaler import Upscaler
from tests.models_core.stylediffuser.conftest import make_pipeline

TAGS = {"hair": {"pink hair": 0.3, "blue hair": 0.7}, "mouth": {"smiling": 0.5}}
PARAMS = {"steps": 2, "strength": 0.6, "truncation": 0.8, "prefix": ["toon style"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    parts = tmp_path_factory.mktemp("parts")
    make_pipeline().save_pretrained(parts / "pipeline")
    torch.manual_seed(0)
    Critic(CriticNetwork(32, (8, 16))).save(parts / "critic")
    Upscaler.from_ncnn().save(parts / "upscaler")
    bundle = build_release(
        parts / "bundle",
        {name: parts / name for name in ("pipeline", "critic", "upscaler")},
        name="tiny",
        title="Tiny",
        tags=TAGS,
        params=PARAMS,
        licences=[{"name": "CC0", "of": "everything"}],
    )
    return bundle.folder


@pytest.fixture(scope="module")
def release(folder):
    return open_release(folder, "cpu")


def pixels(draft: Draft) -> np.ndarray:
    return np.asarray(draft.image, dtype=int)


def test_a_seed_gives_its_image_in_any_batch(release):
    together = release.generate([5, 6, 7])
    assert [draft.seed for draft in together] == [5, 6, 7]
    (alone,) = release.generate([6])
    assert alone.tags == together[1].tags
    assert np.array_equal(pixels(alone), pixels(together[1]))
    assert not np.array_equal(pixels(together[0]), pixels(together[1]))
    at_once = release.generate([5, 6, 7], params={"batch_size": 3})
    assert max(np.abs(pixels(a) - pixels(b)).max() for a, b in zip(together, at_once)) <= 1  # noqa: B905


def test_tags_are_of_the_vocabulary_and_as_asked(release):
    assert all("smiling" in draft.tags for draft in release.generate([1, 2], tags=["smiling"]))
    known = {tag for shares in TAGS.values() for tag in shares}
    assert all(set(draft.tags) <= known for draft in release.generate([3, 4]))
    with pytest.raises(ReleaseError, match="unknown tag"):
        release.generate([1], tags=["green hair"])


def test_parameters_change_the_picture_and_are_checked(release):
    (usual,), (weak,) = release.generate([9]), release.generate([9], params={"strength": 0.1})
    assert not np.array_equal(pixels(usual), pixels(weak))
    with pytest.raises(ReleaseError, match="steps must be from 1"):
        release.generate([9], params={"steps": 0})


def test_progress_is_told_and_an_abort_stops(release):
    told, seen = [], []
    release.generate(
        [1, 2, 3],
        params={"steps": 6},
        preview=lambda first, images: seen.append((first, images[0].size)),
    )
    assert seen == [(n, (16, 16)) for n in range(3)]
    release.generate([1, 2, 3], progress=lambda done, of: told.append((done, of)))
    assert told == [(n, 6) for n in range(1, 7)]
    told.clear()
    with pytest.raises(Aborted):
        release.generate(
            [1, 2, 3],
            progress=lambda done, of: told.append(done),
            abort=lambda: len(told) >= 2,
        )
    assert told == [1, 2]
    assert release.generate([1]), "a stopped release goes on working"


def test_scores_safety_and_enlarging_are_one_an_image(release):
    images = [draft.image for draft in release.generate([1, 2])]
    assert all(0 <= score <= 1 for score in release.score(images))
    assert all(0 <= score <= 1 for score in release.safety(images))
    large = release.upscale([image.resize((128, 128)) for image in images])
    assert [image.size for image in large] == [(512, 512)] * 2
    assert isinstance(large[0], Image.Image) and large[0].mode == "RGB"
    assert release.generate([]) == [] and release.score([]) == []


def test_weights_are_halved_on_disk_and_whole_in_memory(release, folder):
    assert {p.dtype for p in release.pipeline.unet.parameters()} == {torch.float32}
    total = sum(p.numel() for p in release.pipeline.unet.parameters())
    stored = sum(f.stat().st_size for f in (folder / "pipeline/unet").glob("*.safetensors"))
    assert stored < 2 * total + 40_000


def test_a_bundle_without_a_part_says_which(tmp_path):
    Upscaler.from_ncnn().save(tmp_path / "upscaler")
    bundle = build_release(
        tmp_path / "bundle",
        {"upscaler": tmp_path / "upscaler"},
        name="part",
        title="Part",
        tags={},
        params={},
        licences=[{"name": "CC0"}],
    )
    with pytest.raises(ReleaseError, match="no component 'pipeline'"):
        open_release(bundle.folder, "cpu")
