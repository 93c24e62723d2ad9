"""Starting a run from weights that another one exported: a recipe's `init` folder.

Only a first start reads it; a run that has a checkpoint goes on from that.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models_core.enhancer.weights import WeightsError, misfits, read_tensors, shorten

WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")
EMBEDDING = "embeddings.token_embedding.weight"


class InitialWeightsError(WeightsError):
    """The recipe's `init` folder does not hold what the recipe describes."""


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The safetensors of one component folder in diffusers' layout, in float32."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            tensors, _ = read_tensors(folder / name)
            return {key: value.float() for key, value in tensors.items()}
    raise InitialWeightsError(f"init: {folder} holds neither {' nor '.join(WEIGHTS)}")


def start_from(model: nn.Module, folder: Path) -> None:
    """Load a component folder's weights; every tensor must be there, in the model's shape."""
    fit(model, read_weights(folder), folder)


def start_text_encoder(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """As `start_from`, from a pipeline folder with text_encoder/ and tokenizer/.

    Token embeddings are matched by word, for two vocabularies of tags seldom number them alike.
    A word that the older one lacks keeps its fresh embedding.
    """
    weights = read_weights(folder / "text_encoder")
    fresh = model.state_dict()
    key = next((k for k in weights if k.endswith(EMBEDDING)), None)
    if key is None or key not in fresh or weights[key].shape[1] != fresh[key].shape[1]:
        fit(model, weights, folder / "text_encoder")
        return
    older, rows = read_vocabulary(folder / "tokenizer"), fresh[key].clone()
    for word, index in tokenizer.get_vocab().items():
        if older.get(word, len(weights[key])) < len(weights[key]):
            rows[index] = weights[key][older[word]]
    fit(model, {**weights, key: rows}, folder / "text_encoder")


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Word → index of a saved tokenizer."""
    try:
        saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        return dict(saved["model"]["vocab"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InitialWeightsError(f"init: {folder} holds no readable tokenizer.json") from error


def fit(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Copy `weights` into the model, or say which tensors do not fit."""
    if faults := misfits(model, weights):
        raise InitialWeightsError(
            f"init: {folder} does not fit the recipe's network: {shorten(faults)}"
        )
    with torch.no_grad():
        for key, value in model.state_dict().items():
            value.copy_(weights[key])
