"""Two files as an administrator would bring them, made for the shipped release: a StyleGAN2 pickle
in NVIDIA's format and a LoRA in kohya's.

    python -m tests.walk.weights FOLDER

`pink-heads.pkl` is the shipped prototype with classes as labels, five hundred heads of pink hair
before lilac: whoever sees its pictures knows where they come from. `pink-style.safetensors` is
trained for the shipped base on drawings of a stronger pink; that takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageEnhance
from safetensors.torch import save_file

from models_core.enhancer.lora import FILES, read_pairs
from models_core.releases.traits import Traits
from models_core.stylediffuser.prototype import Prototype
from models_core.stylegan2 import Discriminator, Generator
from tests.models_core.formats.foreign import snapshot

REPO = Path(__file__).resolve().parents[2]
DEMO = REPO / "models_core" / "releases" / "demo"
PICKLE, LORA = "pink-heads.pkl", "pink-style.safetensors"
FIXED = ("pink hair", "lilac background")
CLASSES = 500
PICTURES, STEPS, RANK = 240, 80, 8
RECIPE = """\
base = "{base}"
vae = "{base}/vae"
[[sources]]
data = "{data}"
kind = "crop"
prefix = ["toon style"]
[lora]
rank = {rank}
alpha = {rank}
targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv2", "proj_in", "proj_out"]
[training]
seed = 5
batch = 8
steps = {steps}
lr = 8e-4
warmup = 5
ema = 0.9
min_snr_gamma = 5.0
caption_dropout = 0.1
tag_dropout = 0.1
log_every = 10
save_every = {steps}
sample_every = 1000
"""


def classes(release: Path = DEMO) -> Generator:
    """The release's prototype with other labels: each class is a whole set of its tags.

    A label reaches w only as W·c + b, so a class's column of W is made such that it gives what the
    tags give. Nothing else changes, and each class's pictures are the prototype's own.
    """
    prototype = Prototype.from_pretrained(release / "pipeline" / "prototype").eval()
    config = dict(prototype.config["generator"])
    G = Generator(**{**config, "c_dim": CLASSES}).eval()
    state = prototype.G.state_dict()
    embed = prototype.G.mapping.embed
    with torch.no_grad():
        given = embed(prototype.labels(_wishes(release))) - embed.bias * embed.bias_gain
        # Weights are stored without their gain, which depends on the number of inputs.
        state["mapping.embed.weight"] = (given / G.mapping.embed.weight_gain).t().contiguous()
        G.load_state_dict(state)
        z = torch.randn(CLASSES, G.z_dim, generator=torch.Generator().manual_seed(1))
        G.mapping.w_avg.copy_(G.mapping(z, torch.eye(CLASSES))[:, 0].mean(dim=0))
    return G


def _wishes(release: Path) -> list[list[str]]:
    """Tags as often as in training, but for what is `FIXED`."""
    manifest = json.loads((release / "release.json").read_text())
    traits = Traits(manifest["tags"], manifest["params"].get("rules", ()))
    return [list(traits.draw(seed, FIXED)) for seed in range(CLASSES)]


def write_pickle(target: Path, release: Path = DEMO) -> Path:
    G = classes(release)
    D = Discriminator(CLASSES, G.img_resolution, channel_base=256, channel_max=16)  # never read
    target.write_bytes(snapshot(G, D, str(target.with_suffix(".ran"))))
    return target


def write_lora(target: Path, scratch: Path, release: Path = DEMO) -> Path:
    """Train on heads in stronger colours, then name the layers as kohya does."""
    data, run, recipe = scratch / "data", scratch / "run", scratch / "recipe.toml"
    drawn = REPO / "models_core" / "recipes" / "toon-data.toml"
    _models("data", "build", drawn, "--count", PICTURES, "--out", data, "--processes", 1)
    for path in data.glob("*/crop/*.png"):
        picture = ImageEnhance.Color(Image.open(path).convert("RGB")).enhance(2.0)
        ImageEnhance.Contrast(picture).enhance(1.15).save(path)
    base = release / "pipeline"
    recipe.write_text(RECIPE.format(base=base, data=data, rank=RANK, steps=STEPS))
    _models("train", "lora", recipe, "--run", run)
    return as_kohya(run / "export" / "lora" / FILES[0], target)


def as_kohya(source: Path, target: Path) -> Path:
    state = {}
    for module, (_, pair) in read_pairs(source).items():
        name = "lora_unet_" + module.removeprefix("unet.").replace(".", "_")
        state[f"{name}.lora_down.weight"] = pair.down.half()
        state[f"{name}.lora_up.weight"] = pair.up.half()
        state[f"{name}.alpha"] = torch.tensor(pair.alpha)
    notes = {
        "ss_network_module": "networks.lora",
        "modelspec.title": "Vivid",
        "modelspec.trigger_phrase": "toon style",
        "modelspec.license": "CC BY 4.0",
    }
    save_file(state, target, notes)
    return target


def _models(*arguments: Any) -> None:
    command = [sys.executable, "-m", "models_core", *map(str, arguments)]
    subprocess.run(command, cwd=REPO, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    print(write_pickle(folder / PICKLE))
    print(write_lora(folder / LORA, folder))


if __name__ == "__main__":
    main()
