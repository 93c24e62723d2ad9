"""The encoder as a component: saved, opened, asked."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from models_core.data.dataset import ImageFolder, to_tensor
from models_core.latent.component import EncoderConfig, EncoderError
from models_core.latent.encoder import Encoder, EncoderNetwork
from models_core.latent.space import LatentSpace
from models_core.latent.style import StyleEncoder
from tests.models_core.latent.conftest import SIZE, sizes


@pytest.fixture(scope="module")
def pixels(data) -> np.ndarray:
    return np.array(ImageFolder(data).pixels("crop", SIZE)[:40])


def test_pictures_arrays_and_tensors_are_encoded_alike(encoder_folder, space, pixels):
    encoder = Encoder.from_folder(encoder_folder)
    ws = encoder.encode(pixels)
    assert ws.shape == (40, space.num_ws, 12) and ws.dtype == torch.float32
    assert not ws.is_inference()
    assert torch.allclose(encoder.encode(to_tensor(pixels)), ws)
    assert torch.allclose(encoder.encode([Image.fromarray(x) for x in pixels]), ws, atol=1e-5)
    assert torch.allclose(encoder.encode(pixels[7:8]), ws[7:8], atol=1e-5)
    assert encoder.encode([]).shape == (0, space.num_ws, 12)


def test_a_picture_of_any_size_is_fitted(encoder_folder, pixels):
    encoder = Encoder.from_folder(encoder_folder)
    large = [Image.fromarray(x).resize((200, 200)) for x in pixels[:2]]
    near = encoder.encode(large) - encoder.encode(pixels[:2])
    assert near.std() < 0.1 * encoder.encode(pixels).std()


def test_in_w_all_layers_share_one_w(space, pixels):
    torch.manual_seed(0)
    ws = Encoder(EncoderNetwork(replace(sizes(space), space="w")), "").encode(pixels[:3])
    assert ws.shape == (3, space.num_ws, 12)
    assert torch.equal(ws, ws[:, :1].expand_as(ws))
    torch.manual_seed(0)
    ws = Encoder(EncoderNetwork(sizes(space)), "").encode(pixels[:3])
    assert not torch.equal(ws[:, 0], ws[:, 1])


def test_it_knows_its_generator(encoder_folder, space, plain_gan):
    encoder = Encoder.from_folder(encoder_folder)
    encoder.check(space)
    assert encoder.trained_for(space)
    assert not encoder.trained_for(LatentSpace.open(plain_gan))
    small = EncoderConfig(16, 6, 12, widths=(8, 8), hidden=8)
    with pytest.raises(EncoderError, match=r"\(16, 6, 12\), this one has \(32, 8, 12\)"):
        Encoder(EncoderNetwork(small), "").check(space)


def test_a_folder_that_holds_none_is_told(encoder_folder, style_folder, tmp_path):
    with pytest.raises(EncoderError, match="holds no encoder"):
        Encoder.from_folder(tmp_path)
    with pytest.raises(EncoderError, match="'stylegan2-style-encoder' component"):
        Encoder.from_folder(style_folder)
    with pytest.raises(EncoderError, match="'stylegan2-encoder' component"):
        StyleEncoder.from_folder(encoder_folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"widths": [8, 8, 8, 8, 8, 8, 8]}, "halve a picture 7 times"),
        ({"widths": [7]}, "multiples of 8"),
        ({"space": "z"}, 'space must be "w" or "w'),
        ({"hidden": 32}, "does not fit its config"),
        ({"depth": 3}, "does not describe an encoder"),
    ],
)
def test_a_wrong_configuration_is_told(encoder_folder, tmp_path, change, says):
    raw = json.loads((encoder_folder / "config.json").read_text())
    raw["encoder"] |= change
    (tmp_path / "config.json").write_text(json.dumps(raw))
    (tmp_path / "model.safetensors").write_bytes(
        (encoder_folder / "model.safetensors").read_bytes()
    )
    with pytest.raises(EncoderError, match=says):
        Encoder.from_folder(tmp_path)


def test_damaged_weights_are_told(encoder_folder, tmp_path):
    (tmp_path / "config.json").write_bytes((encoder_folder / "config.json").read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(EncoderError, match="is damaged"):
        Encoder.from_folder(tmp_path)
    save_file({"mean": torch.zeros(3)}, tmp_path / "model.safetensors")
    with pytest.raises(EncoderError, match="does not fit"):
        Encoder.from_folder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(EncoderError, match="does not describe an encoder"):
        Encoder.from_folder(tmp_path)
