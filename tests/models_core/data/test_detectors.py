"""Face detectors: the bundled one on cartoon heads, and YOLO exports made here."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from models_core.data.detectors import open_detector
from models_core.data.detectors.blazeface import BlazeFace, anchors
from models_core.data.detectors.boxes import Face, letterbox, non_maximum_suppression
from models_core.data.detectors.yolo import DetectorError, YoloDetector
from models_core.data.dicebear import Style, draw_options, render, style_definition
from models_core.data.recipe import Recipe
from models_core.data.settings import RecipeError

SCORES = [-5.235, -4.6474, -4.0272, -4.8012, -6.8486, -23.0317]
BOX_300 = [-0.3273, 1.5693, 26.1235, 26.1231]
BOX_895 = [0.6729, 1.4452, 119.6481, 119.6633]
RECIPES = Path(__file__).parents[3] / "models_core" / "recipes"


def export(file: Path, output: np.ndarray, size: list = [64, 64]) -> Path:  # noqa: B006
    """An ONNX detector that takes a picture and always gives `output` (times one)."""
    kind = TensorProto.FLOAT
    picture = helper.make_tensor_value_info("images", kind, [1, 3, *size])
    result = helper.make_tensor_value_info("output0", kind, list(output.shape))
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["boxes", "nothing"], ["output0"]),
    ]
    constants = [
        numpy_helper.from_array(output.astype(np.float32), "boxes"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
    ]
    graph = helper.make_graph(nodes, "detector", [picture], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, file)
    return file


# Centre x, centre y, width, height, score: two nearly the same, one apart, one not sure.
ROWS = np.array(
    [
        [32, 24, 16, 16, 0.9],
        [33, 24, 16, 16, 0.6],
        [10, 24, 8, 8, 0.5],
        [50, 40, 8, 8, 0.1],
        *[[0, 0, 1, 1, 0.0]] * 16,
    ]
)


def v5(classes: int = 1, face: int = 0) -> np.ndarray:
    """[1, n, 5 + classes]: the score is objectness times the class's."""
    scores = np.zeros((len(ROWS), classes))
    scores[:, face] = 0.8
    return np.hstack([ROWS[:, :4], ROWS[:, 4:] / 0.8, scores])[None]


def v8(classes: int = 1, face: int = 0) -> np.ndarray:
    """[1, 4 + classes, n]"""
    scores = np.zeros((len(ROWS), classes))
    scores[:, face] = ROWS[:, 4]
    return np.hstack([ROWS[:, :4], scores]).T[None]


@pytest.mark.parametrize(
    ("output", "face_class"), [(v5(), None), (v8(), None), (v5(3, 2), 2), (v8(3, 1), 1)]
)
def test_both_yolo_layouts_are_read_back_into_the_picture(tmp_path, output, face_class):
    """A 200×100 picture fills a 64×64 canvas from row 16 to 48, at a scale of 0.32."""
    detect = YoloDetector(export(tmp_path / "face.onnx", output), 0.3, face_class)
    faces = detect(Image.new("RGB", (200, 100)))
    assert [round(face.score, 3) for face in faces] == [0.9, 0.5]
    assert faces[0][:4] == pytest.approx((75, 0, 125, 50))
    assert faces[1][:4] == pytest.approx((18.75, 12.5, 43.75, 37.5))


def test_free_input_sizes_are_640(tmp_path):
    detect = YoloDetector(export(tmp_path / "face.onnx", v8(), ["height", "width"]), 0.3)
    assert (detect.width, detect.height) == (640, 640)
    (first, *_) = detect(Image.new("RGB", (640, 640)))
    assert first[:4] == pytest.approx((24, 16, 40, 32))


def test_boxes_are_cut_to_the_picture(tmp_path):
    rows = np.tile([60.0, 32, 40, 40, 0.9], (8, 1))
    detect = YoloDetector(export(tmp_path / "face.onnx", rows.T[None]), 0.3)
    (face,) = detect(Image.new("RGB", (64, 64)))
    assert face[:4] == pytest.approx((40, 12, 64, 52))


def test_what_is_no_detector_is_refused(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(DetectorError, match=r"a\.onnx is not an ONNX model"):
        YoloDetector(tmp_path / "a.onnx", 0.3)
    with pytest.raises(DetectorError, match="not a YOLOv5 or YOLOv8 export"):
        YoloDetector(export(tmp_path / "b.onnx", np.zeros((1, 7))), 0.3)
    finished = YoloDetector(export(tmp_path / "f.onnx", np.zeros((1, 300, 6))), 0.3)
    with pytest.raises(DetectorError, match="export it with nms=False"):
        finished(Image.new("RGB", (64, 64)))
    several = YoloDetector(export(tmp_path / "c.onnx", v8(3)), 0.3)
    with pytest.raises(DetectorError, match=r"3 classes apart; set crop\.face_class"):
        several(Image.new("RGB", (64, 64)))
    none = YoloDetector(export(tmp_path / "d.onnx", v5(2)), 0.3, 2)
    with pytest.raises(DetectorError, match="no class 2; its classes are 0 to 1"):
        none(Image.new("RGB", (64, 64)))
    with pytest.raises(RecipeError, match="neither `blazeface` nor a file"):
        open_detector(str(tmp_path / "e.onnx"), 0.3)


def test_suppression_keeps_the_surest_of_each_place():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 30], [40, 40, 50, 50]], float)
    scores = np.array([0.5, 0.9, 0.8, 0.4])
    assert non_maximum_suppression(boxes, scores, 0.45) == [1, 2, 3]
    assert non_maximum_suppression(boxes[:0], scores[:0]) == []


@pytest.mark.parametrize("shrink", [1.0, 0.5])
@pytest.mark.parametrize("size", [(300, 100), (80, 200), (1, 500)])
def test_a_letterbox_s_way_back_leads_to_the_same_place(size, shrink):
    boxed = letterbox(Image.new("RGB", size, "white"), 128, 96, shrink=shrink)
    assert boxed.canvas.size == (128, 96)
    corners = [boxed.left, boxed.top]
    corners += [boxed.left + size[0] * boxed.scale, boxed.top + size[1] * boxed.scale]
    assert boxed.back(np.array([corners]))[0] == pytest.approx([0, 0, *size])


def heads(n: int, size: int) -> list[Image.Image]:
    (source,) = Recipe.read(RECIPES / "toon-data.toml").sources
    style = Style(style_definition("toon-head"))
    drawings = [draw_options(source.groups, source.rules, f"face-{i}") for i in range(n)]
    return [render(style, drawing, size) for drawing in drawings]


def test_the_bundled_detector_finds_cartoon_faces_where_they_are():
    detect = open_detector("blazeface", 0.4)
    for head in heads(20, 128):
        face = detect(head)[0]
        assert face.centre == pytest.approx((64, 75), abs=7)
        assert 36 < face.side < 70


def test_it_finds_a_small_face_in_a_large_picture_and_none_in_an_empty_one():
    detect = open_detector("blazeface", 0.4)
    scene = Image.new("RGB", (900, 600), "#7fa37f")
    scene.paste(heads(1, 110)[0], (700, 60))
    face = detect(scene)[0]
    assert face.centre == pytest.approx((755, 124), abs=15)
    assert detect(Image.new("RGB", (900, 600), "#7fa37f")) == []


def test_its_network_gives_what_tensorflow_lite_gives():
    """Recorded from ai-edge-litert 2.3.0 with the same file."""
    ramp = torch.linspace(-1, 1, 128)
    x = torch.stack([ramp.expand(128, 128), ramp.expand(128, 128).T, -ramp.expand(128, 128)])[None]
    scores, boxes = BlazeFace.open()(x)
    assert scores.shape == (1, 896)
    assert boxes.shape == (1, 896, 4)
    assert scores[0, [0, 300, 511, 512, 700, 895]].tolist() == pytest.approx(SCORES, abs=1e-3)
    assert boxes[0, 300].tolist() == pytest.approx(BOX_300, abs=1e-3)
    assert boxes[0, 895].tolist() == pytest.approx(BOX_895, abs=1e-3)
    assert anchors().shape == (896, 2)
    assert anchors()[[0, 1, 2, 512]].tolist() == [[4, 4], [4, 4], [12, 4], [8, 8]]


def test_another_file_is_refused(tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"TFL3")
    with pytest.raises(ValueError, match="not MediaPipe's"):
        BlazeFace.open(tmp_path / "a.tflite")


def test_a_face_has_a_side_and_a_centre():
    assert Face(10, 20, 40, 60, 1.0).side == 40
    assert Face(10, 20, 40, 60, 1.0).centre == (25, 40)
