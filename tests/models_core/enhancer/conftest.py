"""The whole chain of training at tiny size, each loop run once, and recipes to run it again."""

import json
import tomllib
from pathlib import Path

import pytest
import torch

from models_core.data.build import build
from models_core.data.recipe import Recipe
from models_core.stylediffuser.prototype import Prototype
from models_core.training import autoencoder, lora, stylediffuser, unet

RECIPES = Path(__file__).parents[3] / "models_core" / "recipes"
TINY = {
    "autoencoder": {
        "network": {"image_size": 32, "channels": [8, 8, 16], "groups": 4},
        "training": {"batch": 4, "patch": 16, "steps": 6, "warmup": 1, "save_every": 3}
        | {"kl_from": 0.7, "precision": "fp32"},
    },
    "unet": {
        "text_encoder": {"width": 16, "layers": 1, "heads": 2},
        "unet": {
            "latent_size": 8,
            "channels": [8, 16],
            "attention": [False, True],
            "head_dim": 8,
            "groups": 4,
        },
        "training": {"batch": 4, "steps": 6, "warmup": 1, "save_every": 3, "sample_every": 6}
        | {"precision": "fp32"},
    },
    "lora": {
        "lora": {"rank": 2, "alpha": 4},
        "training": {"batch": 4, "steps": 6, "warmup": 1, "save_every": 3, "sample_every": 6},
    },
    "stylediffuser": {
        "lora": {"rank": 2, "alpha": 2, "targets": ["to_q", "to_v", "conv1", "proj_in"]},
        "training": {"batch": 4, "steps": 6, "warmup": 1, "save_every": 3, "sample_every": 6}
        | {"train_base": False, "precision": "fp32"},
    },
}


def write_recipe(file: Path, model: str, **top) -> Path:
    """The demo recipe of `model` with the tiny sizes of `TINY` and other places, begun from
    nothing."""
    table = tomllib.loads((RECIPES / f"toon-{model}.toml").read_text())
    table.pop("init", None)
    for section, values in TINY[model].items():
        table[section].update(values)
    table.update(top)
    file.write_text(as_toml(table))
    return file


def as_toml(table: dict) -> str:
    plain = {k: v for k, v in table.items() if not isinstance(v, dict) and not is_rows(v)}
    lines = [f"{k} = {json.dumps(v)}" for k, v in plain.items()]
    for name, value in table.items():
        for row in value if is_rows(value) else [value] if isinstance(value, dict) else []:
            lines.append(f"[[{name}]]" if is_rows(value) else f"[{name}]")
            lines += [f"{k} = {json.dumps(v)}" for k, v in row.items()]
    return "\n".join(lines)


def is_rows(value) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


@pytest.fixture(scope="session")
def chain(tmp_path_factory) -> Path:
    """A tiny data set and one finished run of each loop, in one folder."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("chain")
    text = (RECIPES / "toon-data.toml").read_text().replace("count = 30000", "count = 60")
    (root / "data.toml").write_text(text.replace("image_size = 128", "image_size = 32"))
    build(Recipe.read(root / "data.toml"), root / "data", processes=1)
    data = str(root / "data")
    autoencoder.main(write_recipe(root / "vae.toml", "autoencoder", data=[data]), root / "vae")
    torch.manual_seed(0)
    generator = {
        "z_dim": 8,
        "c_dim": len(vocabulary(root)),
        "w_dim": 8,
        "img_resolution": 16,
        "mapping_kwargs": {"num_layers": 2},
        "synthesis_kwargs": {"channel_base": 128, "channel_max": 16},
    }
    Prototype(generator, vocabulary(root)).save_pretrained(root / "prototype")
    unet.main(write_unet(root), root / "unet")
    lora.main(write_lora(root), root / "lora")
    stylediffuser.main(write_stylediffuser(root), root / "style")
    return root


def vocabulary(root: Path) -> list[str]:
    groups = json.loads((root / "data" / "dataset.json").read_text())["tags"]
    return [tag for tags in groups.values() for tag in tags]


def write_unet(root: Path, file: Path | None = None, **top) -> Path:
    source = {"data": str(root / "data"), "prefix": ["toon style"], "weight": 1}
    vae = str(root / "vae" / "export")
    file = file or root / "unet.toml"
    return write_recipe(file, "unet", vae=vae, sources=[source], **top)


def write_lora(root: Path, file: Path | None = None, **top) -> Path:
    source = {"data": str(root / "data"), "kind": "whole", "prefix": ["toon style"]}
    return write_recipe(
        file or root / "lora.toml",
        "lora",
        base=str(root / "unet" / "export"),
        vae=str(root / "vae" / "export"),
        sources=[source],
        **top,
    )


def write_stylediffuser(root: Path, file: Path | None = None, **top) -> Path:
    return write_recipe(
        file or root / "style.toml",
        "stylediffuser",
        data=str(root / "data"),
        base=str(root / "unet" / "export"),
        vae=str(root / "vae" / "export"),
        prototype=str(root / "prototype"),
        **top,
    )
