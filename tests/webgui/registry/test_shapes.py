"""The sizes that the server reads of JSON are those that the networks have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webgui.registry import shapes, storage

CONFIGS = Path(__file__).parents[3] / "models_core" / "enhancer" / "configs"


def stored(**tables: Any) -> dict[str, str]:
    """Files of a part, `unet__config` for unet/config.json, in the store."""
    return {
        f"{name.replace('__', '/')}.json": storage.keep_content(json.dumps(table).encode())
        for name, table in tables.items()
    }


@pytest.mark.parametrize(
    "name", ["stable-diffusion-1", "stable-diffusion-2", "stable-diffusion-2-v"]
)
def test_stable_diffusions_sizes_are_those_an_adapter_is_made_for(home: Path, name: str) -> None:
    from accelerate import init_empty_weights
    from diffusers import UNet2DConditionModel

    from models_core.stylediffuser.adapter import StyleAdapter
    from models_core.stylegan2 import Generator

    table = json.loads((CONFIGS / f"{name}.json").read_text())
    generator = {
        "z_dim": 8, "c_dim": 2, "w_dim": 12, "img_resolution": 64, "img_channels": 3,
        "synthesis_kwargs": {"channel_base": 512, "channel_max": 32},
    }  # fmt: skip
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config(table["unet"])
        adapter = StyleAdapter.fitting(Generator(**generator), unet)
    base = shapes.read("base", stored(unet__config=table["unet"], vae__config=table["vae"]))
    alone = shapes.read("base", stored(config={"unet": table["unet"]}))
    made = shapes.read("adapter", stored(config=json.loads(json.dumps(dict(adapter.config)))))
    prototype = shapes.read(
        "prototype", stored(config={"generator": generator, "tags": ["a", "b"]})
    )
    assert base == alone
    assert isinstance(base, shapes.Base) and isinstance(made, shapes.Adapter)
    assert (made.residuals, made.inner, made.text) == (base.residuals, base.inner, base.text)
    assert isinstance(prototype, shapes.Prototype)
    assert (made.channels, made.num_ws, made.w_dim) == (
        *(prototype.channels, prototype.num_ws, prototype.w_dim),
    )
    assert prototype.tags == {"a", "b"}
    for block, width in base.blocks.items():
        found = unet.get_submodule(block).resnets[-1].out_channels
        assert found == width, block


def test_what_cannot_be_told_is_said(home: Path) -> None:
    with pytest.raises(shapes.Untold, match=r"has no config\.json"):
        shapes.read("critic", {})
    with pytest.raises(shapes.Untold, match=r"cannot be read \(KeyError\('size'\)\)"):
        shapes.read("critic", stored(config={}))
    with pytest.raises(shapes.Untold, match="zipped diffusers folder"):
        shapes.read("base", stored(config={"kind": "base", "unet": None}))
    with pytest.raises(shapes.Untold, match="not in the store"):
        shapes.read("critic", {"config.json": "ab" * 32})
    with pytest.raises(shapes.Untold, match="no table"):
        shapes.read("upscaler", stored(config=[4]))
    with pytest.raises(shapes.Untold, match="cannot be read"):
        shapes.read("prototype", stored(config={"generator": {"img_resolution": "big"}}))
