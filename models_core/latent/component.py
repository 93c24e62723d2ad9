"""An encoder on disk and in memory: what the encoder and the masked style encoder share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from models_core.latent.space import LatentSpace

Space = Literal["w", "w+"]
CONFIG, WEIGHTS = "config.json", "model.safetensors"


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


class Component:
    """A trained network for one generator: `config.json` beside `model.safetensors`."""

    KIND: str
    NETWORK: Any
    """The network's class, made of an `EncoderConfig`."""

    def __init__(self, network: Any, generator: str, device: torch.device | str = "cpu") -> None:
        """`generator` is the fingerprint of the generator it was trained for."""
        self.device = torch.device(device)
        self.network = network.to(self.device).eval().requires_grad_(False)
        self.generator = generator
        self.config: EncoderConfig = self.network.config

    @classmethod
    def from_folder(cls, folder: Path | str, device: torch.device | str = "cpu") -> Self:
        """What a training exported; EncoderError says what is wrong with the folder."""
        folder = Path(folder)
        config, state, raw = read_component(folder, cls.KIND)
        network = cls.NETWORK(config)
        try:
            network.load_state_dict({name: value.float() for name, value in state.items()})
        except RuntimeError as error:
            raise EncoderError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {error}") from error
        return cls(network, raw.get("generator", ""), device)

    def save(self, folder: Path, dtype: torch.dtype = torch.float16) -> None:
        """Write both files, each whole or as it was."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = self.network.state_dict()
        state = {name: value.to("cpu", dtype).contiguous() for name, value in weights.items()}
        raw = {"kind": self.KIND, "generator": self.generator, "encoder": asdict(self.config)}
        text = json.dumps(raw, indent=1) + "\n"
        for name, content in ((WEIGHTS, safetensors_bytes(state)), (CONFIG, text.encode())):
            part = folder / f"{name}.part"
            part.write_bytes(content)
            part.replace(folder / name)

    def check(self, space: LatentSpace) -> None:
        """EncoderError where its w is not of this generator's shape."""
        own = (self.config.img_resolution, self.config.num_ws, self.config.w_dim)
        asked = (space.resolution, space.num_ws, space.generator.w_dim)
        if own != asked:
            raise EncoderError(
                f"the encoder is for a generator of (pixels, layers, size of w) = {own}, this one "
                f"has {asked}; train one for it: python -m models_core train encoder RECIPE"
            )

    def trained_for(self, space: LatentSpace) -> bool:
        """Whether these are the very weights it was trained for; with others it does worse."""
        return self.generator == space.fingerprint()


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
