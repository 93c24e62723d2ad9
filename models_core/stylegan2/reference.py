"""Agreement with recorded outputs of the original StyleGAN2-ADA networks.

A pair is `NAME.json` (both networks' configurations, ψ and the cutoff) and `NAME.npz`: weights as
`G/<tensor>` and `D/<tensor>`, the inputs `z` and `c`, and the recorded `ws`, `ws_truncated`,
`image_const_noise`, `image_truncated_const_noise`, `image_no_noise` and `logits`, which are D's
of `image_const_noise`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models_core.stylegan2.discriminator import Discriminator
from models_core.stylegan2.generator import Generator

OUTPUTS = (
    "ws",
    "ws_truncated",
    "image_const_noise",
    "image_truncated_const_noise",
    "image_no_noise",
    "logits",
)


class PairError(ValueError):
    """The folder holds no usable reference."""


@dataclass(frozen=True)
class Difference:
    """How far one output is from the recorded one: largest |a - b|, beside the largest |b|."""

    pair: str
    output: str
    largest: float
    scale: float


def compare_folder(folder: Path) -> list[Difference]:
    """Compare every output of every pair in `folder`."""
    pairs = [file for file in sorted(folder.glob("*.json")) if file.with_suffix(".npz").exists()]
    if not pairs:
        raise PairError(
            f"{folder} holds no reference pairs (NAME.json beside NAME.npz); name the folder "
            "that has them, such as tests/models_core/stylegan2/reference"
        )
    return [difference for file in pairs for difference in compare_pair(file)]


@torch.no_grad()
def compare_pair(file: Path) -> list[Difference]:
    """Build both networks from one pair, run them on its inputs, and compare every output."""
    config = json.loads(file.read_text())
    recorded = _read(file.with_suffix(".npz"))
    G = Generator(**config["generator"]).eval()
    D = Discriminator(**config["discriminator"]).eval()
    _fill(G, recorded, "G/", file)
    _fill(D, recorded, "D/", file)
    z, c = recorded["z"], recorded["c"]
    ws = G.mapping(z, c)
    truncated = G.mapping(
        z,
        c,
        truncation_psi=config["truncation_psi"],
        truncation_cutoff=config["truncation_cutoff"],
    )
    image = G.synthesis(ws, noise_mode="const")
    ours = {
        "ws": ws,
        "ws_truncated": truncated,
        "image_const_noise": image,
        "image_truncated_const_noise": G.synthesis(truncated, noise_mode="const"),
        "image_no_noise": G.synthesis(ws, noise_mode="none"),
        "logits": D(recorded["image_const_noise"], c),
    }
    return [_difference(file.stem, name, ours[name], recorded[name]) for name in OUTPUTS]


def _read(file: Path) -> dict[str, Tensor]:
    with np.load(file, allow_pickle=False) as arrays:
        tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    if missing := [name for name in ("z", "c", *OUTPUTS) if name not in tensors]:
        raise PairError(f"{file} lacks {', '.join(missing)}")
    return tensors


def _fill(network: nn.Module, recorded: dict[str, Tensor], prefix: str, file: Path) -> None:
    state = {n.removeprefix(prefix): t for n, t in recorded.items() if n.startswith(prefix)}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise PairError(f"{file}: the weights do not fit the configuration: {error}") from error


def _difference(pair: str, name: str, ours: Tensor, recorded: Tensor) -> Difference:
    if ours.shape != recorded.shape:
        raise PairError(f"{pair}: {name} is {list(ours.shape)}, recorded {list(recorded.shape)}")
    largest = (ours - recorded).abs().max().item()
    return Difference(pair, name, largest, recorded.abs().max().item())
