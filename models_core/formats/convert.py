"""Writing what was found as safetensors and JSON, with NumPy alone: a server has no torch.

Nothing of the source is ever executed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from models_core.formats.diffusion import BaseModel
from models_core.formats.files import kept_name
from models_core.formats.folders import ModelFolder
from models_core.formats.loading import cast, is_float, to_numpy
from models_core.formats.lora import ADAPTER_NOTES, Layer, Lora
from models_core.formats.probe import Found, probe
from models_core.formats.rosinality import W_AVG
from models_core.formats.stylegan2 import Stylegan2
from models_core.formats.verdicts import Corrupt
from models_core.formats.write import Piece, piece, pieces_of, write_safetensors
from models_core.releases.bundle import ReleaseError, verify_release

MEAN_SAMPLES = 10_000  # latents whose w are averaged where a checkpoint lacks the mean
WEIGHTS = "model.safetensors"
LORA_WEIGHTS = "pytorch_lora_weights.safetensors"  # where diffusers' load_lora_weights looks


def convert(path: Path, out: Path, *, half: bool = False) -> dict[str, Any]:
    """Write the checkpoint at `path` to the new folder `out`, whole or not at all.

    Args:
        half: float16 weights, which for a StyleGAN2 change pixels by a few thousandths at most.
            Folders are taken over as they are.

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
            folder.mkdir()
            write(found, folder, half=half)
            folder.rename(out)
        return found.report()


def write(found: Found, folder: Path, *, half: bool) -> None:
    """Write one checkpoint of any kind into an empty folder."""
    if isinstance(found, Stylegan2):
        write_stylegan2(found, folder, half=half)
    elif isinstance(found, BaseModel):
        pieces = pieces_of(found.weights, half=half)
        write_safetensors(folder / WEIGHTS, pieces, found.metadata)
        write_json(folder, found.report())
    elif isinstance(found, Lora):
        write_lora(found, folder, half=half)
    elif isinstance(found, ModelFolder):
        write_folder(found, folder)
    else:
        raise TypeError(f"{type(found).__name__} cannot be written")


def write_json(folder: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8")


def write_stylegan2(found: Stylegan2, out: Path, *, half: bool) -> None:
    """A checkpoint folder (`models_core.stylegan2.checkpoint`) with `discriminator/` in it."""
    pieces = pieces_of(found.weights, half=half)
    if W_AVG in found.derived:
        mean = mean_w(found)
        dtype = "float16" if half else "float32"
        pieces.append(Piece(W_AVG, dtype, mean.shape, lambda: mean.astype(dtype)))
    write_safetensors(out / WEIGHTS, pieces)
    config = {"kind": "stylegan2", "generator": found.generator, "tags": {}, "rules": []}
    write_json(out, config)
    if found.discriminator is not None:
        folder = out / "discriminator"
        folder.mkdir()
        write_safetensors(folder / WEIGHTS, pieces_of(found.discriminator_weights, half=half))
        config = {"kind": "stylegan2-discriminator", "discriminator": found.discriminator}
        write_json(folder, config)


def mean_w(found: Stylegan2) -> np.ndarray:
    """The mean of w over z from a fixed seed, as rosinality's own programs estimate it.

    The mapping network (Karras 2019, §2) written out; `models_core.stylegan2.layers` explains.
    """
    config = found.generator
    x = np.random.default_rng(0).standard_normal((MEAN_SAMPLES, config["z_dim"]), np.float32)
    x /= np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-8)
    multiplier = config["mapping_kwargs"]["lr_multiplier"]
    for index in range(config["mapping_kwargs"]["num_layers"]):
        weight, bias = (
            cast(to_numpy(value), value.dtype, "float32")
            for value in (
                found.weights[f"mapping.fc{index}.weight"],
                found.weights[f"mapping.fc{index}.bias"],
            )
        )
        x = x @ (weight.T * (multiplier / np.sqrt(weight.shape[1]))) + bias * multiplier
        x = np.where(x < 0, 0.2 * x, x) * np.float32(np.sqrt(2))
    return x.mean(axis=0)


def write_lora(found: Lora, out: Path, *, half: bool) -> None:
    """In peft's names, with alpha worked into B, so that every loader gives the same W'."""
    pieces = []
    for name, layer in found.layers.items():
        pieces.append(piece(f"{name}.lora_A.weight", layer.down, half=half))
        scale = found.alpha(name) / layer.rank
        pieces.append(_scaled(f"{name}.lora_B.weight", layer, scale, half=half))
    # Without diffusers' own notes of an alpha, which B holds now.
    notes = {name: text for name, text in found.metadata.items() if name != ADAPTER_NOTES}
    write_safetensors(out / LORA_WEIGHTS, pieces, notes)
    write_json(out, found.report())


def _scaled(name: str, layer: Layer, scale: float, *, half: bool) -> Piece:
    """B · alpha / rank; in float32, so that nothing is lost, where that is not B itself."""
    if scale == 1 or not is_float(layer.up.dtype):
        return piece(name, layer.up, half=half)
    dtype, up = "float16" if half else "float32", layer.up
    return Piece(
        name,
        dtype,
        tuple(up.shape),
        lambda: (cast(to_numpy(up), up.dtype, "float32") * np.float32(scale)).astype(dtype),
    )


def write_folder(found: ModelFolder, out: Path) -> None:
    """Take the files over; a release's digests are compared."""
    for name in found.kept:
        target = out / kept_name(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        found.files.copy(name, target)
    if found.kind == "release":
        try:
            verify_release(out)
        except ReleaseError as error:
            raise Corrupt(str(error)) from error
