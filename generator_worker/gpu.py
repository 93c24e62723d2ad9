"""What the driver says of the GPU. The main process asks, which must not import torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

PATIENCE = 5.0
QUERY = "--query-gpu=name,utilization.gpu,memory.used"
MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    name: str
    use: float | None
    """0 to 1 over the last moments; None where the driver does not say."""
    memory_used_bytes: int | None


def look(device: str | None) -> Gpu | None:
    """None where there is no GPU, it is not used, or the driver says nothing."""
    program = shutil.which("nvidia-smi")
    if program is None or (device and not device.startswith("cuda")):
        return None
    argv = [program, QUERY, "--format=csv,noheader,nounits", "-i", _index(device)]
    try:
        done = subprocess.run(  # noqa: S603
            argv, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
        name, use, used = (field.strip() for field in done.stdout.splitlines()[0].rsplit(",", 2))
    except (OSError, subprocess.SubprocessError, IndexError, ValueError):
        return None
    used_mib = _number(used)
    share = _number(use)
    return Gpu(
        name[:200],
        None if share is None else min(share / 100, 1.0),
        None if used_mib is None else int(used_mib * MIB),
    )


def _index(device: str | None) -> str:
    """torch counts the GPUs that CUDA_VISIBLE_DEVICES leaves, the driver all of them."""
    number = (device or "cuda").partition(":")[2] or "0"
    visible = [part for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
    return visible[int(number)].strip() if int(number) < len(visible) else number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # [N/A]
        return None
