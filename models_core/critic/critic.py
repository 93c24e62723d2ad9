"""The critic as a release component: a folder with `config.json` and `model.safetensors`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from models_core.critic.network import CriticNetwork

KIND = "CriticNetwork"
BENIGN = 0.7  # the score from which on a picture counts as good
BATCH = 32


@dataclass(frozen=True)
class Calibration:
    """score = sigmoid((logit - bias) / temperature); fitted on held-out images (Platt 1999)."""

    temperature: float = 1.0
    bias: float = 0.0

    def __call__(self, logits: Tensor) -> Tensor:
        return torch.sigmoid((logits - self.bias) / self.temperature)


class Critic:
    """Scores pictures from 0 (gross faults) to 1 (as good as real art)."""

    def __init__(
        self,
        network: CriticNetwork,
        calibration: Calibration | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.calibration = calibration or Calibration()

    @classmethod
    def open(cls, folder: Path, device: torch.device | str = "cpu") -> Critic:
        """Load what `save` wrote; weights become float32 whatever they are stored in."""
        config = json.loads((folder / "config.json").read_text())
        if config.get("kind") != KIND:
            raise ValueError(f"{folder} does not hold a critic ({KIND})")
        network = CriticNetwork(config["size"], tuple(config["widths"]))
        network.load_state_dict(load_file(folder / "model.safetensors"))
        return cls(network, Calibration(**config["calibration"]), device)

    def save(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "kind": KIND,
            "size": self.network.size,
            "widths": list(self.network.widths),
            "calibration": vars(self.calibration),
        }
        weights = self.network.state_dict()
        state = {name: value.to("cpu", dtype).contiguous() for name, value in weights.items()}
        (folder / "model.safetensors").write_bytes(safetensors_bytes(state))
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

    def __call__(self, images: Sequence[Image.Image] | Tensor) -> list[float]:
        """One score a picture, for PIL images of any size or a tensor [n, 3, h, w] in [-1, 1]."""
        return self.calibration(self.logits(images)).tolist()

    @torch.inference_mode()
    def logits(self, images: Sequence[Image.Image] | Tensor) -> Tensor:
        """Raw outputs [n], on the CPU, before calibration."""
        parts = [
            self.network(self._input(images[start : start + BATCH])).cpu()
            for start in range(0, len(images), BATCH)
        ]
        return torch.cat(parts) if parts else torch.zeros(0)

    def _input(self, images: Sequence[Image.Image] | Tensor) -> Tensor:
        size = self.network.size
        if isinstance(images, Tensor):
            if images.shape[-1] != size:
                images = torch.nn.functional.interpolate(
                    images, (size, size), mode="bicubic", antialias=True
                ).clamp(-1, 1)
            return images.to(self.device, torch.float32)
        pixels = np.stack([np.asarray(_fitted(image, size)) for image in images])
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device)
        return x.float() / 127.5 - 1


def _fitted(image: Image.Image, size: int) -> Image.Image:
    image = image.convert("RGB")
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)  # antialiased by Pillow
    return image
