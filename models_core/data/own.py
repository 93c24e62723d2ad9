"""Real pictures of one's own: drawn with another seed, so that no model was trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any


def own_images(recipe: Mapping[str, Any]) -> Path:
    """The data set in the folder `data`, drawn as `draw` says (`recipe`, `seed`, `count`) when it
    is not there yet.
    """
    folder = Path(recipe["data"])
    if "draw" in recipe and not (folder / "dataset.json").exists():
        from models_core.data.build import build
        from models_core.data.recipe import Recipe

        draw = recipe["draw"]
        source = Recipe.read(Path(draw["recipe"])).with_count(draw["count"])
        own = source.redrawn(folder.name, draw["seed"])
        # A fresh process: libvips leaves threads behind that a later fork would not survive.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(build, own, folder, processes=1).result()
    return folder
