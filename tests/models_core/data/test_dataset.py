"""Reading a built data set."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from models_core.data.dataset import (
    DatasetError,
    ImageFolder,
    LabelledImages,
    TagVocabulary,
    contact_sheet,
    to_pixels,
    to_tensor,
)


@pytest.fixture
def folder(built, tmp_path) -> Path:
    """A copy by links, to have caches of its own."""
    for file in built.rglob("*"):
        if file.is_file() and not file.name.startswith("cache-"):
            target = tmp_path / "set" / file.relative_to(built)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target)
    return tmp_path / "set"


def test_labels_are_multi_hot_in_the_vocabulary_s_order(folder):
    data = ImageFolder(folder)
    words = ["pink hair", "black hair", "short hair", "long straight hair", "full beard"]
    assert data.vocabulary.tags == words
    assert data.labels.shape == (len(data), 5)
    for row, label in zip(data.rows, data.labels, strict=True):
        said = [word for word, on in zip(words, label.tolist(), strict=True) if on]
        assert said == list(row["tags"].values())
        assert ", ".join(said) == row["caption"]


def test_unknown_tags_are_an_error():
    vocabulary = TagVocabulary({"hair colour": {"pink hair": 0.5}, "beard": {"goatee": 0.1}})
    assert torch.equal(vocabulary.labels([["goatee"], []]), torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(KeyError, match="green hair"):
        vocabulary.labels([["green hair"]])


def test_pixels_are_the_images_and_cached(folder):
    data = ImageFolder(folder, "test")
    pixels = data.pixels("whole", 32)
    assert pixels.shape == (len(data), 32, 32, 3)
    for row, shown in zip(data.rows, pixels, strict=True):
        image = Image.open(folder / "test" / row["file_name"]).convert("RGB")
        assert np.array_equal(shown, np.asarray(image))
    cache = folder / "test" / "cache-whole-32.npy"
    stamp = cache.stat().st_mtime_ns
    assert np.array_equal(ImageFolder(folder, "test").pixels("whole", 32), pixels)
    assert cache.stat().st_mtime_ns == stamp
    assert not list(folder.rglob("*.part"))


def test_pixels_are_resized_and_kinds_differ(folder):
    data = ImageFolder(folder)
    crops, wholes = data.pixels("crop", 16), data.pixels("whole", 16)
    assert crops.shape == wholes.shape == (len(data), 16, 16, 3)
    assert not np.array_equal(crops, wholes)
    first = Image.open(folder / "train" / data.rows[0]["crop_file_name"]).convert("RGB")
    expected = np.asarray(first.resize((16, 16), Image.Resampling.LANCZOS))
    assert np.array_equal(crops[0], expected)


def test_a_cache_of_another_size_of_set_is_made_anew(folder):
    cache = folder / "train" / "cache-crop-16.npy"
    np.save(cache, np.zeros((3, 16, 16, 3), np.uint8))
    data = ImageFolder(folder)
    assert data.pixels("crop", 16).shape == (len(data), 16, 16, 3)
    assert data.pixels("crop", 16).any()


def test_a_folder_that_was_not_built_says_how(tmp_path):
    with pytest.raises(DatasetError, match="python -m models_core data build"):
        ImageFolder(tmp_path)


def test_pixels_and_tensors_go_both_ways():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    pixels[0, 0, 0] = (0, 127, 255)
    tensor = to_tensor(pixels)
    assert tensor.shape == (2, 3, 4, 4)
    assert tensor[0, :, 0, 0].tolist() == pytest.approx([-1, 127 / 127.5 - 1, 1])
    assert np.array_equal(to_pixels(tensor), pixels)
    assert to_pixels(torch.full((1, 3, 1, 1), 9.0)).max() == 255


def test_a_contact_sheet_is_read_row_by_row():
    images = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (10, 20, 30)])
    sheet = np.asarray(contact_sheet(images, 2))
    assert sheet.shape == (4, 4, 3)
    assert [sheet[0, 0, 0], sheet[0, 2, 0], sheet[2, 0, 0], sheet[2, 2, 0]] == [10, 20, 30, 255]


@pytest.fixture
def flippable(folder) -> Path:
    """Every second row of the training split may be mirrored."""
    metadata = folder / "train" / "metadata.jsonl"
    rows = [json.loads(line) for line in metadata.open()]
    for row in rows[::2]:
        row["flip"] = True
    metadata.unlink()  # a link to the shared one
    metadata.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_torch_s_loader_gives_images_labels_and_mirror_images(flippable):
    data = ImageFolder(flippable)
    images = LabelledImages(data, "crop", 32)
    mirrored = (len(data) + 1) // 2
    assert len(images) == len(data) + mirrored
    for place, original in (
        (len(data), 0),
        (len(data) + 1, 2),
        (len(images) - 1, -2 + len(data) % 2),
    ):
        image, label = images[place]
        plain, same = images[range(len(data))[original]]
        assert torch.equal(image, plain.flip(-1))
        assert not torch.equal(image, plain)
        assert torch.equal(label, same)
    batch, labels = next(iter(DataLoader(images, batch_size=7, shuffle=True)))
    assert (batch.shape, batch.dtype) == ((7, 3, 32, 32), torch.float32)
    assert -1 <= batch.min() < batch.max() <= 1
    assert labels.shape == (7, len(data.vocabulary))
    with pytest.raises(IndexError):
        images[len(images)]


def test_asymmetric_styles_are_not_mirrored(folder, flippable):
    train, test = ImageFolder(flippable), ImageFolder(flippable, "test")
    assert len(LabelledImages(train, "crop", 32, flip=False)) == len(train)
    assert len(LabelledImages(test, "crop", 32)) == len(test)


def test_a_cache_older_than_the_set_is_made_anew(folder):
    pixels = np.array(ImageFolder(folder).pixels("crop", 16))
    metadata = folder / "train" / "metadata.jsonl"
    first = folder / "train" / ImageFolder(folder).rows[0]["crop_file_name"]
    first.unlink()
    Image.new("RGB", (32, 32), "red").save(first)
    os.utime(metadata)
    again = ImageFolder(folder).pixels("crop", 16)
    assert again[0, 8, 8].tolist() == [255, 0, 0]
    assert np.array_equal(again[1:], pixels[1:])


def test_words_outside_the_vocabulary_are_no_labels(folder):
    data = ImageFolder(folder)
    data.rows[0]["tags"] = {"hair colour": "pink hair", "tags": ["solo", "hat"]}
    assert data.tags[0] == ["pink hair"]
    assert data.labels[0].tolist() == [1, 0, 0, 0, 0]
