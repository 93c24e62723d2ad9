"""Checkpoint folders: what is written is what is opened, and what does not fit is told."""

import json

import pytest
import torch
from safetensors import safe_open

from models_core.stylegan2 import checkpoint
from models_core.stylegan2.checkpoint import CheckpointError
from tests.models_core.stylegan2.conftest import CONFIG, RULES, TAGS


@pytest.fixture
def folder(G, tmp_path):
    checkpoint.save(CONFIG, G.state_dict(), tmp_path / "gan", tags=TAGS, rules=RULES)
    return tmp_path / "gan"


def test_half_precision_draws_nearly_the_same(folder, G, labels):
    opened = checkpoint.load(folder)
    assert not opened.training
    assert all(p.dtype == torch.float32 and not p.requires_grad for p in opened.parameters())
    z = torch.randn(4, 8)
    assert torch.allclose(opened(z, labels), G(z, labels), atol=2e-2)
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_full_precision_draws_exactly_the_same(G, labels, tmp_path):
    checkpoint.save(CONFIG, G.state_dict(), tmp_path / "gan", dtype=torch.float32)
    z = torch.randn(4, 8)
    assert torch.equal(checkpoint.load(tmp_path / "gan")(z, labels), G(z, labels))


def test_the_description_says_what_labels_mean(folder):
    about = checkpoint.describe(folder)
    assert about.generator == CONFIG
    assert about.tags == TAGS
    assert about.rules == RULES


def test_weights_of_channels_last_training_can_be_saved(G, labels, tmp_path):
    G.to(memory_format=torch.channels_last)
    checkpoint.save(CONFIG, G.state_dict(), tmp_path / "gan")
    assert checkpoint.load(tmp_path / "gan")(torch.randn(4, 8), labels).isfinite().all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("mapping.w_avg"), "lack 1 tensors, such as mapping.w_avg"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 tensors too many, such as extra"),
        (
            lambda s: s.update({"mapping.fc0.bias": torch.zeros(5)}),
            r"mapping.fc0.bias is \[5\], but the configuration asks for \[12\]",
        ),
        (
            lambda s: s.update({"mapping.w_avg": torch.full((12,), float("nan"))}),
            "mapping.w_avg holds values that are no numbers",
        ),
        (
            lambda s: s.update({"mapping.w_avg": torch.full((12,), 1e6)}),
            "mapping.w_avg is too large for half precision",
        ),
    ],
    ids=["missing", "unknown", "shape", "nan", "large"],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_written(G, tmp_path, change, says):
    state = dict(G.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=says):
        checkpoint.save(CONFIG, state, tmp_path / "gan")
    assert not (tmp_path / "gan").exists()


def test_as_many_tags_as_label_positions(G, tmp_path):
    with pytest.raises(CheckpointError, match="1 tags, but the generator's label has 3 positions"):
        checkpoint.save(CONFIG, G.state_dict(), tmp_path / "gan", tags={"beard": {"goatee": 0.1}})
    assert not (tmp_path / "gan").exists()


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("config.json", b"{", "is not JSON"),
        ("config.json", b"\xff\xfe", "is not JSON"),
        ("config.json", b'{"kind": "critic"}', "holds a 'critic' component, not 'stylegan2'"),
        ("config.json", b"[]", "holds a None component"),
        ("config.json", b'{"kind": "stylegan2"}', "lacks the table `generator`"),
        ("config.json", None, "holds no config.json; make a checkpoint folder with"),
        ("model.safetensors", None, "holds no model.safetensors"),
        ("model.safetensors", b"\x10\0\0\0\0\0\0\0half", "is damaged"),
    ],
)
def test_a_folder_that_is_none_is_told(folder, file, content, says):
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"img_resolution": 48}, "power of two"),
        ({"img_resolution": 32}, "lack .* tensors, such as synthesis.b32"),
        ({"layers": 3}, "configuration is not usable"),
        ({"w_dim": 16}, r"is \[.*\], but the configuration asks for"),
        ({"z_dim": "8"}, "configuration is not usable"),
        ({"z_dim": 2**20, "w_dim": 2**20}, r"is \[.*\], but the configuration asks for"),
    ],
)
def test_a_configuration_that_does_not_fit_is_told(folder, change, says):
    config = json.loads((folder / "config.json").read_text())
    config["generator"].update(change)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load(folder)
