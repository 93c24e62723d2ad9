"""Animations in every format, read back."""

import cv2
import numpy as np
import pytest
from PIL import Image

from models_core.latent.animation import enlarged, save_animation


@pytest.fixture
def frames():
    steps = np.linspace(0, 250, 6).astype(np.uint8)
    return np.stack([np.full((32, 32, 3), (s, 128, 255 - s), dtype=np.uint8) for s in steps])


@pytest.mark.parametrize("suffix", [".webp", ".gif", ".png"])
def test_frames_come_back_in_order_and_time(frames, tmp_path, suffix):
    file = tmp_path / "new" / f"way{suffix}"
    save_animation(frames, file, fps=10)
    with Image.open(file) as image:
        assert image.n_frames == 6
        assert image.info.get("loop", 0) == 0
        for i, frame in enumerate(frames):
            image.seek(i)
            image.load()
            assert image.info["duration"] == pytest.approx(100, abs=1)
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - frame).max() < 12
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_video_opens_as_one(frames, tmp_path):
    save_animation(enlarged(frames, 2), tmp_path / "way.webm", fps=10)
    video = cv2.VideoCapture(str(tmp_path / "way.webm"))
    seen = []
    while (read := video.read())[0]:
        seen.append(read[1][..., ::-1])
    assert len(seen) == 6 and seen[0].shape == (64, 64, 3)
    assert np.abs(seen[-1].astype(int) - frames[-1, 0, 0]).max() < 20


@pytest.mark.parametrize(
    ("name", "fps", "says"),
    [("a.mp3", 12, "ends in .webp, .gif, .png, .webm"), ("a.gif", 0, "from 1 to 60, not 0")],
)
def test_what_cannot_be_written_is_told(frames, tmp_path, name, fps, says):
    with pytest.raises(ValueError, match=says):
        save_animation(frames, tmp_path / name, fps)
    assert not list(tmp_path.iterdir())


def test_one_frame_is_no_animation_and_a_tiny_one_no_video(frames, tmp_path):
    with pytest.raises(ValueError, match="2 to 2000 frames, not 1"):
        save_animation(frames[:1], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="at least 16 pixels"):
        save_animation(frames[:, :8, :8], tmp_path / "a.webm")
    with pytest.raises(ValueError, match="scale is a whole number"):
        enlarged(frames, 0)
