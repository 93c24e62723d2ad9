"""Writing what was found as safetensors and JSON. Nothing of the source is ever executed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from models_core.formats.loading import state_dict
from models_core.formats.probe import Found, probe
from models_core.formats.stylegan2 import Stylegan2
from models_core.formats.verdicts import Incompatible
from models_core.stylegan2 import Generator, checkpoint
from models_core.stylegan2.discriminator import Discriminator

MEAN_SAMPLES = 10_000  # latents whose w are averaged where a checkpoint lacks the mean


def convert(path: Path, out: Path, *, half: bool = False) -> dict[str, Any]:
    """Write the checkpoint at `path` to the new folder `out`, whole or not at all.

    Args:
        half: float16 weights, which for a StyleGAN2 change pixels by a few thousandths at most.

    Returns: the report of `inspect`.

    Raises:
        Refused: as `probe`. Nothing is written.
        ValueError: `out` exists.
    """
    if out.exists():
        raise ValueError(f"{out} exists already; choose another folder")
    with probe(path) as found:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
            folder = Path(scratch, "converted")
            write(found, folder, half=half)
            folder.rename(out)
        return found.report()


def write(found: Found, folder: Path, *, half: bool) -> None:
    if isinstance(found, Stylegan2):
        convert_stylegan2(found, folder, half=half)
    else:
        raise TypeError(f"{type(found).__name__} cannot be written")


def convert_stylegan2(found: Stylegan2, out: Path, *, half: bool = False) -> None:
    """Write the generator as a checkpoint folder, the discriminator in `discriminator/` in it."""
    state = {name: value.float() for name, value in state_dict(found.weights).items()}
    if "mapping.w_avg" in found.derived:
        state["mapping.w_avg"] = mean_w(found.generator, state)
    try:
        checkpoint.save(found.generator, state, out, dtype=torch.float16 if half else torch.float32)
    except checkpoint.CheckpointError as error:
        raise Incompatible(str(error)) from error
    if found.discriminator is not None:
        _save_discriminator(found, out / "discriminator", torch.float16 if half else torch.float32)


def mean_w(config: dict[str, Any], state: dict[str, Tensor]) -> Tensor:
    """The mean of w over z from a fixed seed, as rosinality's own programs estimate it."""
    G = Generator(**config).eval()
    G.load_state_dict(state, strict=False)  # all but the mean, as was checked
    z = torch.randn(MEAN_SAMPLES, config["z_dim"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return G.mapping(z)[:, 0].mean(dim=0)


def _save_discriminator(found: Stylegan2, out: Path, dtype: torch.dtype) -> None:
    config = found.discriminator or {}
    state = {name: value.float() for name, value in state_dict(found.discriminator_weights).items()}
    D = Discriminator(**config)
    D.load_state_dict(state)
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.to(dtype).contiguous() for name, value in D.state_dict().items()}
    (out / "model.safetensors").write_bytes(safetensors_bytes(weights))
    text = {"kind": "stylegan2-discriminator", "discriminator": config}
    (out / "config.json").write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
