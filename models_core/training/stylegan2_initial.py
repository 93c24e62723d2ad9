"""Starting StyleGAN2 from weights of another run, of a release, or of another program.

    init = "models_core/releases/demo/pipeline/prototype"

`init` is a prototype folder as releases and runs have it, or a checkpoint folder as
`python -m models_core convert` writes it; where that has a `discriminator/`, D starts from it too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models_core.stylegan2 import Discriminator, Generator
from models_core.training.initial import InitialWeightsError, fit, read_weights


def start_generator(G: Generator, tags: Sequence[str], folder: Path) -> None:
    """Load a generator's weights, if they fit the recipe's network and its labels mean `tags`."""
    found = _described_tags(folder)
    if G.c_dim and found is not None and found != list(tags):
        missing = [tag for tag in tags if tag not in found] or ["another order"]
        raise InitialWeightsError(
            f"init: {folder} was trained with other tags than the data has ({missing[0]!r}); "
            "its label would mean something else"
        )
    weights = {name.removeprefix("G."): value for name, value in read_weights(folder).items()}
    fit(G, weights, folder)


def start_discriminator(D: Discriminator, folder: Path) -> None:
    """Load a discriminator's weights where `folder` has them; else D begins anew."""
    beside = folder / "discriminator"
    if beside.is_dir():
        fit(D, read_weights(beside), beside)


def _described_tags(folder: Path) -> list[str] | None:
    """What the label's positions mean, by the folder's config.json; None where it does not say."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    tags = config.get("tags")
    if isinstance(tags, dict):
        tags = [tag for group in tags.values() for tag in group]
    return tags or None
