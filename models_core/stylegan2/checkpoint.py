"""A generator on disk: `config.json` beside `model.safetensors`, opened without executing anything.

    {"kind": "stylegan2", "generator": {"z_dim": 128, …},
     "tags": {"hair colour": {"pink hair": 0.07, …}, …}, "rules": […]}

`tags` are the groups that the label's positions stand for, in order, with each tag's share of
the training data (empty for a generator without labels); `rules` are the data recipe's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from models_core.stylegan2.generator import Generator

KIND = "stylegan2"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
HALF = torch.finfo(torch.float16)

TagGroups = Mapping[str, Mapping[str, float]]


class CheckpointError(ValueError):
    """The folder or the weights do not hold the generator they should; says what to do."""


@dataclass(frozen=True)
class Description:
    """What `config.json` says: how to build the generator and what its label means."""

    generator: dict[str, Any]
    tags: TagGroups = field(default_factory=dict)
    rules: Sequence[Any] = ()


def save(
    generator_config: Mapping[str, Any],
    state_dict: Mapping[str, Tensor],
    folder: Path,
    *,
    tags: TagGroups | None = None,
    rules: Sequence[Any] = (),
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a generator to `folder`, after checking that weights, config and tags fit together.

    Args:
        generator_config: keyword arguments of `Generator`.
        state_dict: its weights, such as a training's `G_ema` snapshot.
        tags, rules: see the module; as many tags as the generator's `c_dim`.
        dtype: float16 halves the file; a pixel changes by a few thousandths at most.

    Raises:
        CheckpointError: they do not fit, or a weight does not fit into `dtype`. Nothing is written.
    """
    config = dict(generator_config)
    build(config, state_dict)
    groups = {name: dict(shares) for name, shares in (tags or {}).items()}
    _check_tags(config, groups)
    text = {"kind": KIND, "generator": config, "tags": groups, "rules": list(rules)}
    weights = safetensors_bytes({n: _cast(n, value, dtype) for n, value in state_dict.items()})
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / WEIGHTS, weights)
    _replace(folder / CONFIG, (json.dumps(text, indent=1, ensure_ascii=False) + "\n").encode())


def describe(folder: Path) -> Description:
    """Read and check `config.json` alone."""
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} holds no {CONFIG}; make a checkpoint folder with "
            "python -m models_core convert stylegan2-run RUN"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder / CONFIG} is not JSON: {error}") from error
    if not isinstance(raw, dict) or raw.get("kind") != KIND:
        found = raw.get("kind") if isinstance(raw, dict) else None
        raise CheckpointError(f"{folder} holds a {found!r} component, not {KIND!r}")
    if not isinstance(raw.get("generator"), dict):
        raise CheckpointError(f"{folder / CONFIG} lacks the table `generator`")
    about = Description(raw["generator"], raw.get("tags", {}), raw.get("rules", []))
    _check_tags(about.generator, about.tags)
    return about


def load(folder: Path, device: torch.device | str = "cpu") -> Generator:
    """The generator of a checkpoint folder, in eval mode, float32, without gradients."""
    folder = Path(folder)
    about = describe(folder)
    try:
        state = load_file(folder / WEIGHTS)
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no {WEIGHTS}; copy the whole folder") from None
    except SafetensorError as error:
        raise CheckpointError(
            f"{folder / WEIGHTS} is damaged ({error}); copy or convert it again"
        ) from error
    return build(about.generator, state).to(device)


def build(generator_config: Mapping[str, Any], state_dict: Mapping[str, Tensor]) -> Generator:
    """A generator with these weights; CheckpointError names the first tensor that does not fit."""
    try:
        with torch.device("meta"):  # shapes only: a wrong configuration allocates nothing
            generator = Generator(**generator_config)
    except (TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise CheckpointError(f"the generator's configuration is not usable: {error}") from error
    expected = generator.state_dict()
    if missing := sorted(expected.keys() - state_dict.keys()):
        raise CheckpointError(
            f"the weights lack {len(missing)} tensors, such as {missing[0]}; "
            "are they another network's, or is the configuration another run's?"
        )
    if unknown := sorted(state_dict.keys() - expected.keys()):
        raise CheckpointError(
            f"the weights have {len(unknown)} tensors too many, such as {unknown[0]}; "
            "are they another network's, or is the configuration another run's?"
        )
    for name, value in state_dict.items():
        if value.shape != expected[name].shape:
            found, asked = list(value.shape), list(expected[name].shape)
            raise CheckpointError(f"{name} is {found}, but the configuration asks for {asked}")
        if not value.isfinite().all():
            raise CheckpointError(f"{name} holds values that are no numbers (infinite or NaN)")
    own = {
        name: value.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        for name, value in state_dict.items()
    }
    generator.load_state_dict(own, assign=True)
    return generator.eval().requires_grad_(False)


def _check_tags(config: Mapping[str, Any], groups: TagGroups) -> None:
    count = sum(len(tags) for tags in groups.values())
    if count not in (0, config.get("c_dim", 0)):
        raise CheckpointError(
            f"{count} tags, but the generator's label has {config.get('c_dim')} positions"
        )


def _cast(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.float16 and value.abs().max() > HALF.max:
        raise CheckpointError(f"{name} is too large for half precision; save as float32")
    return value.detach().to("cpu", dtype).contiguous()


def _replace(file: Path, content: bytes) -> None:
    """Write whole or not at all."""
    part = file.with_suffix(file.suffix + ".part")
    part.write_bytes(content)
    part.replace(file)
