import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from models_core.upscale.ncnn import HALF, NcnnError, installed_model, read_network
from models_core.upscale.network import CompactNetwork, enlarge
from models_core.upscale.upscaler import Upscaler

# Channels x four pixels of the real network's answer to the ramp of `test_known_pixels`.
EXPECTED = [
    [0.12803, 0.13305, 0.14884, 0.15961],
    [0.4838, 0.4924, 0.49779, 0.50532],
    [0.83444, 0.84366, 0.85342, 0.86496],
]


@pytest.fixture(scope="module")
def upscaler():
    torch.set_num_threads(1)
    return Upscaler.from_ncnn()


def flat_art(size: int) -> Image.Image:
    """A face of flat shapes, drawn at four times the size and averaged down."""
    big = Image.new("RGB", (4 * size, 4 * size), "#c0e8d5")
    pen, u = ImageDraw.Draw(big), 4 * size / 100
    pen.ellipse((20 * u, 15 * u, 80 * u, 90 * u), fill="#f1c3a5")
    pen.pieslice((18 * u, 8 * u, 82 * u, 70 * u), 180, 360, fill="#724133")
    for x in (38, 62):
        pen.ellipse(((x - 6) * u, 48 * u, (x + 6) * u, 60 * u), fill="white")
        pen.ellipse(((x - 3) * u, 51 * u, (x + 3) * u, 57 * u), fill="black")
    pen.arc((40 * u, 62 * u, 60 * u, 78 * u), 10, 170, fill="#a02030", width=int(2 * u))
    return big.resize((size, size), Image.Resampling.BOX)


def psnr(a: Image.Image, b: Image.Image) -> float:
    error = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    return 10 * np.log10(255**2 / np.mean(error**2))


def test_flat_art_is_nearer_to_the_truth_than_lanczos(upscaler):
    truth, small = flat_art(512), flat_art(512).resize((128, 128), Image.Resampling.BOX)
    (large,) = upscaler([small])
    assert large.size == (512, 512) and large.mode == "RGB"
    lanczos = small.resize((512, 512), Image.Resampling.LANCZOS)
    assert psnr(large, truth) > 30
    assert psnr(large, truth) > psnr(lanczos, truth) + 0.5


def test_known_pixels(upscaler):
    """A slice of the output for a fixed input: weights, layer order and padding are right."""
    ramp = torch.linspace(0, 1, 3 * 12 * 10).reshape(1, 3, 12, 10)
    with torch.inference_mode():
        out = upscaler.network(ramp)
    assert out.shape == (1, 3, 48, 40)
    expected = torch.tensor(EXPECTED)
    assert torch.allclose(out[0, :, 20:24, 20], expected, atol=2e-4)


def test_each_image_is_the_same_alone_and_in_any_company(upscaler):
    small, other = flat_art(32), flat_art(48)
    alone = upscaler([small])[0]
    together = upscaler([other, small])[1]
    assert np.array_equal(np.asarray(alone), np.asarray(together))


def test_tiles_change_nothing(upscaler):
    x = torch.rand(1, 3, 50, 37, generator=torch.Generator().manual_seed(1))
    whole = enlarge(upscaler.network, x)
    tiled = enlarge(upscaler.network, x, tile=20)
    assert torch.allclose(whole, tiled, atol=1e-5)


def test_a_saved_component_gives_the_same_picture(upscaler, tmp_path):
    upscaler.save(tmp_path / "upscaler")
    assert (tmp_path / "upscaler/model.safetensors").stat().st_size < 1_300_000
    again = Upscaler.open(tmp_path / "upscaler")
    assert next(again.network.parameters()).dtype == torch.float32
    a, b = (np.asarray(u([flat_art(64)])[0], dtype=int) for u in (upscaler, again))
    assert np.abs(a - b).max() <= 1


def test_another_component_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"kind": "Critic"}))
    with pytest.raises(ValueError, match="does not hold an upscaler"):
        Upscaler.open(tmp_path)


def write_ncnn(path, half: bool) -> CompactNetwork:
    """A tiny compact network in ncnn's format, written independently of the reader."""
    network = CompactNetwork(features=5, layers=1, factor=2)
    lines, blob, channels = [], b"", 3
    for layer in network.body:
        weight = layer.weight.detach().numpy()
        if isinstance(layer, torch.nn.Conv2d):
            out = layer.out_channels
            lines.append(f"Convolution c 1 1 a b 0={out} 1=3 4=1 5=1 6={weight.size}")
            data = weight.astype("<f2" if half else "<f4").tobytes()
            blob += (HALF if half else 0).to_bytes(4, "little") + data + b"\0" * (-len(data) % 4)
            blob += layer.bias.detach().numpy().astype("<f4").tobytes()
            channels = out
        else:
            lines.append(f"PReLU p 1 1 a b 0={channels}")
            blob += weight.astype("<f4").tobytes()
    lines.append("PixelShuffle s 1 1 a b 0=2")
    path.write_text("\n".join(["7767517", f"{len(lines)} 9", *lines]) + "\n")
    path.with_suffix(".bin").write_bytes(blob)
    return network


@pytest.mark.parametrize("half", [False, True])
def test_ncnn_files_of_both_precisions_are_read(tmp_path, half):
    network = write_ncnn(tmp_path / "m.param", half)
    sizes, state = read_network(tmp_path / "m.param")
    assert sizes == {"features": 5, "layers": 1, "factor": 2}
    for name, value in network.state_dict().items():
        assert torch.allclose(state[name], value, atol=1e-3 if half else 0)


def test_broken_ncnn_files_are_refused(tmp_path):
    write_ncnn(tmp_path / "m.param", half=True)
    blob = (tmp_path / "m.bin").read_bytes()
    (tmp_path / "m.bin").write_bytes(blob[:-8])
    with pytest.raises(NcnnError, match="shorter than"):
        read_network(tmp_path / "m.param")
    (tmp_path / "m.bin").write_bytes(blob + b"\0" * 8)
    with pytest.raises(NcnnError, match="does not describe"):
        read_network(tmp_path / "m.param")
    (tmp_path / "m.param").write_text("hello\n")
    with pytest.raises(NcnnError, match="not an ncnn"):
        read_network(tmp_path / "m.param")
    with pytest.raises(NcnnError, match="realesr-animevideov3-x4"):
        installed_model("no-such-model")
