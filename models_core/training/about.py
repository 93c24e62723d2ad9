"""A run's own description: `run.json` for programs, `README.txt` for people."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("stylediffuser", "torch", "diffusers", "accelerate", "numpy", "safetensors")
LOOPS = {
    "stylegan2": "StyleGAN2, the prototype's generator and discriminator",
    "encoder": "the encoder from pictures to a generator's w",
    "style-encoder": "the masked style encoder of a generator",
    "autoencoder": "the enhancer's autoencoder",
    "unet": "the enhancer's UNet and text encoder",
    "stylediffuser": "the adapter and LoRA that join prototype and enhancer",
}
README = """\
A training run of {what}.

begun      {begun}
data       {data}
versions   {versions}
computer   {machine}

Go on, or resume after a stop (from {cwd}):

    {command}

recipe.toml     what was asked for
log.jsonl       one line per logging interval; tensorboard/ holds the same where installed
samples/        sheets on fixed latents, named by how far the training was
snapshots/      averaged weights, kept
checkpoint.pt   the newest whole state, replaced at each save; needed to go on
export/         the newest averaged weights, for use
run.json        the above for programs, with each time the run was started
"""


def describe(folder: Path, loop: str, recipe: Mapping[str, Any], step: int, last: int) -> list[str]:
    """Write both files, adding this start to earlier ones.

    Returns warnings: a data set is no longer the one that the run began with.
    """
    file = folder / "run.json"
    before = _read(file)
    data = {str(root): data_digest(root) for root in data_folders(recipe)}
    versions = _versions()
    start = {"at": _now(), "step": step, "until": last, "versions": versions, "data": data}
    about = {
        "what": LOOPS.get(loop, loop),
        "loop": loop,
        "begun": before.get("begun", start["at"]),
        "recipe_sha256": hashlib.sha256((folder / "recipe.toml").read_bytes()).hexdigest(),
        "data": data,
        "command": f"python -m models_core train {loop} {folder}/recipe.toml --run {folder}",
        "cwd": str(Path.cwd()),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "starts": [*before.get("starts", []), start],
    }
    _write(file, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    words = {**about, "versions": _listed(versions), "data": _listed(data) or "none"}
    _write(folder / "README.txt", README.format(**words))
    earlier = before.get("data", {})
    return [
        f"{root} has changed since the run began: it goes on, but not as it would have"
        for root, digest in data.items()
        if earlier.get(root, digest) != digest
    ]


def data_folders(recipe: Mapping[str, Any]) -> list[Path]:
    """Every data set that a recipe names, in order."""
    return list(dict.fromkeys(_folders(recipe)))


def _folders(table: Mapping[str, Any]) -> Iterator[Path]:
    for key, value in table.items():
        if key == "data":
            names: Sequence[Any] = [value] if isinstance(value, str) else value
            yield from (Path(name) for name in names)
        elif isinstance(value, list):
            for row in value:
                if isinstance(row, dict):
                    yield from _folders(row)


def data_digest(root: Path) -> str | None:
    """SHA-256 over a data set's own descriptions, which hold what its images are."""
    files = sorted([*root.glob("dataset.json"), *root.glob("*/metadata.jsonl")])
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}


def _write(file: Path, text: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)
