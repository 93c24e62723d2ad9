"""Writing frames as an animation that opens everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MAX_FRAMES = 2000
MIN_SIDE = 16


def enlarged(frames: np.ndarray, scale: int) -> np.ndarray:
    """uint8 [N, H, W, 3], each side `scale` times as long."""
    if scale < 1:
        raise ValueError(f"scale is a whole number from 1, not {scale}")
    if scale == 1:
        return frames
    size = (frames.shape[2] * scale, frames.shape[1] * scale)
    images = [Image.fromarray(f).resize(size, Image.Resampling.LANCZOS) for f in frames]
    return np.stack([np.asarray(image) for image in images])


def save_animation(frames: np.ndarray, file: Path, fps: float = 12) -> None:
    """uint8 [N, H, W, 3] → `.webp`, `.gif`, `.png` (animated, endless) or `.webm` (VP8).

    Raises:
        ValueError: another ending, or a speed or length that no viewer shows.
    """
    check_animation(file, fps)
    if not 2 <= len(frames) <= MAX_FRAMES:
        raise ValueError(f"an animation has 2 to {MAX_FRAMES} frames, not {len(frames)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.stem}.part{file.suffix}")
    try:
        WRITERS[file.suffix.lower()](frames, part, fps)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def check_animation(file: Path, fps: float) -> None:
    """ValueError for what `save_animation` would refuse, before any work is done."""
    if file.suffix.lower() not in WRITERS:
        raise ValueError(f"an animation ends in {', '.join(WRITERS)}, not {file.name!r}")
    if not 1 <= fps <= 60:
        raise ValueError(f"frames per second are from 1 to 60, not {fps:g}")


def _save_pillow(frames: np.ndarray, file: Path, fps: float, **options: Any) -> None:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    options |= {"duration": round(1000 / fps), "loop": 0}
    first.save(file, save_all=True, append_images=rest, **options)


def _save_webp(frames: np.ndarray, file: Path, fps: float) -> None:
    _save_pillow(frames, file, fps, quality=85, method=4)


def _save_gif(frames: np.ndarray, file: Path, fps: float) -> None:
    _save_pillow(frames, file, fps, disposal=2)


def _save_webm(frames: np.ndarray, file: Path, fps: float) -> None:
    import cv2

    height, width = frames.shape[1:3]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"a video is at least {MIN_SIDE} pixels a side; enlarge it with --scale")
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"VP80"), fps, (width, height))
    if not writer.isOpened():
        raise ValueError("this build of OpenCV writes no VP8 video; write a .webp instead")
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


WRITERS: dict[str, Callable[[np.ndarray, Path, float], None]] = {
    ".webp": _save_webp,
    ".gif": _save_gif,
    ".png": _save_pillow,
    ".webm": _save_webm,
}
