"""The encoder e: picture → w, so that G(e(x)) is the generator's nearest drawing of x.

encoder = Encoder.from_folder(Path("runs/encoder/export"))
ws = encoder.encode(pictures)                  # [N, num_ws, w_dim]
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from models_core.critic.network import Residual
from models_core.data.dataset import to_tensor
from models_core.latent.space import LatentSpace

Space = Literal["w", "w+"]
KIND = "stylegan2-encoder"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
BATCH = 32


class EncoderError(ValueError):
    """The folder does not hold an encoder, or it does not fit the generator."""


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of an encoder; the first four are the generator's.

    `space` is "w" for one w a picture, "w+" for one w per layer (Abdal 2019). `masked` adds the
    mask as a fourth channel.
    """

    img_resolution: int
    num_ws: int
    w_dim: int
    space: Space = "w+"
    widths: tuple[int, ...] = (48, 96, 160, 192)
    hidden: int = 384

    def __post_init__(self) -> None:
        if self.space not in ("w", "w+"):
            raise EncoderError(f'space must be "w" or "w+", not {self.space!r}')
        if self.img_resolution % 2 ** len(self.widths):
            raise EncoderError(
                f"{len(self.widths)} widths halve a picture {len(self.widths)} times, which "
                f"{self.img_resolution} pixels do not allow; give fewer"
            )
        if any(width % 8 for width in self.widths):
            raise EncoderError(f"widths must be multiples of 8, not {self.widths}")


class Trunk(nn.Module):
    """Picture [N, C, R, R] → features [N, hidden]. Pixels are unshuffled by two first, so that no
    layer works at the full size; places are kept to the end, for w says what is where."""

    def __init__(self, channels: int, resolution: int, widths: Sequence[int], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * channels, widths[0], 3, padding=1),
        ]
        for narrow, wide in pairwise(widths):
            layers += [nn.SiLU(), nn.Conv2d(narrow, wide, 3, stride=2, padding=1), Residual(wide)]
        self.body = nn.Sequential(*layers)
        self.norm = nn.GroupNorm(8, widths[-1])
        side = resolution // 2 ** len(widths)
        self.out = nn.Linear(widths[-1] * side**2, hidden)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.out(F.silu(self.norm(self.body(x))).flatten(1)))


class EncoderNetwork(nn.Module):
    """x [N, 3, R, R] in [-1, 1] → ws [N, num_ws, w_dim].

    The head's output is in units of W's own spread: ws = mean + std · head.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(3, config.img_resolution, config.widths, config.hidden)
        self.copies = 1 if config.space == "w" else config.num_ws
        self.head = nn.Linear(config.hidden, self.copies * config.w_dim)
        self.register_buffer("mean", torch.zeros(config.w_dim))
        self.register_buffer("std", torch.ones(config.w_dim))

    def forward(self, x: Tensor) -> Tensor:
        out = self.head(self.trunk(x)).view(len(x), self.copies, self.config.w_dim)
        ws = self.mean + self.std * out
        return ws.expand(-1, self.config.num_ws, -1)


class Encoder:
    """A trained encoder, ready to be asked."""

    def __init__(
        self, network: EncoderNetwork, generator: str, device: torch.device | str = "cpu"
    ) -> None:
        """`generator` is the fingerprint of the generator it was trained for."""
        self.device = torch.device(device)
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.generator = generator
        self.config = network.config

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device | str = "cpu") -> Encoder:
        """What a training exported; EncoderError says what is wrong with the folder."""
        config, state, raw = read_component(Path(folder), KIND)
        network = EncoderNetwork(config)
        load_weights(network, state, Path(folder))
        return cls(network, raw.get("generator", ""), device)

    def save(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        write_component(folder, KIND, self.network, self.config, self.generator, dtype)

    def check(self, space: LatentSpace) -> None:
        """EncoderError where the encoder's w is not of this generator's shape."""
        check_sizes(self.config, space)

    def trained_for(self, space: LatentSpace) -> bool:
        """Whether these are the very weights it was trained for; others are encoded worse."""
        return self.generator == space.fingerprint()

    @torch.no_grad()
    def encode(self, images: Sequence[Image.Image] | np.ndarray | Tensor) -> Tensor:
        """Pictures → ws [N, num_ws, w_dim] on the CPU.

        Pictures are face crops as the generator draws them, of any size: PIL images, uint8
        [N, H, W, 3], or a tensor [N, 3, H, W] in [-1, 1].
        """
        parts = [
            self.network(self._input(images[start : start + BATCH])).float().cpu()
            for start in range(0, len(images), BATCH)
        ]
        shape = (0, self.config.num_ws, self.config.w_dim)
        return torch.cat(parts) if parts else torch.zeros(shape)

    def _input(self, images: Sequence[Image.Image] | np.ndarray | Tensor) -> Tensor:
        size = self.config.img_resolution
        if isinstance(images, Tensor):
            x = images
        elif isinstance(images, np.ndarray):
            x = to_tensor(images)
        else:
            fitted = [
                i.convert("RGB").resize((size, size), Image.Resampling.LANCZOS) for i in images
            ]
            x = to_tensor(np.stack([np.asarray(image) for image in fitted]))
        x = x.to(self.device, torch.float32)
        if x.shape[2:] != (size, size):
            x = F.interpolate(x, (size, size), mode="bicubic", antialias=True).clamp(-1, 1)
        return x


def check_sizes(config: EncoderConfig, space: LatentSpace) -> None:
    own = (config.img_resolution, config.num_ws, config.w_dim)
    asked = (space.resolution, space.num_ws, space.generator.w_dim)
    if own != asked:
        raise EncoderError(
            f"the encoder is for a generator of (pixels, layers, size of w) = {own}, this one has "
            f"{asked}; train one for it: python -m models_core train encoder RECIPE"
        )


def write_component(
    folder: Path,
    kind: str,
    network: nn.Module,
    config: EncoderConfig,
    generator: str,
    dtype: torch.dtype,
) -> None:
    """`config.json` beside `model.safetensors`, each whole or as it was."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {n: v.to("cpu", dtype).contiguous() for n, v in network.state_dict().items()}
    raw = {"kind": kind, "generator": generator, "encoder": asdict(config)}
    text = json.dumps(raw, indent=1) + "\n"
    for name, content in ((WEIGHTS, safetensors_bytes(state)), (CONFIG, text.encode())):
        part = folder / f"{name}.part"
        part.write_bytes(content)
        part.replace(folder / name)


def read_component(
    folder: Path, kind: str
) -> tuple[EncoderConfig, Mapping[str, Tensor], dict[str, Any]]:
    """The configuration, the weights and all of `config.json`; runs nothing."""
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if raw.get("kind") != kind:
            raise EncoderError(f"{folder} holds a {raw.get('kind')!r} component, not {kind!r}")
        values = dict(raw["encoder"])
        config = EncoderConfig(**{**values, "widths": tuple(values["widths"])})
        state = load_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise EncoderError(
            f"{folder} holds no encoder ({error.filename}); a training exports one: "
            "python -m models_core train encoder RECIPE"
        ) from None
    except SafetensorError as error:
        raise EncoderError(f"{folder / WEIGHTS} is damaged ({error}); copy it again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, EncoderError):
            raise
        raise EncoderError(f"{folder / CONFIG} does not describe an encoder: {error!r}") from error
    return config, state, raw


def load_weights(network: nn.Module, state: Mapping[str, Tensor], folder: Path) -> None:
    try:
        network.load_state_dict({name: value.float() for name, value in state.items()})
    except RuntimeError as error:
        raise EncoderError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {error}") from error
