"""Making a bundle of component folders: copy, halve the weights, digest, publish whole."""

from __future__ import annotations

import json
import shutil
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models_core.releases.bundle import (
    FORMAT,
    MANIFEST,
    Bundle,
    ReleaseError,
    bundle_files,
    encode,
    file_digest,
    verify_release,
)
from models_core.releases.traits import Traits

LIMIT = 40 * 2**20  # bytes; what the repository can carry
KEPT = {".json", ".txt", ".safetensors", ".model"}  # configs, tokenizer vocabularies, weights


def build_release(
    out: Path,
    components: Mapping[str, Path],
    *,
    name: str,
    title: str,
    tags: Mapping[str, Mapping[str, float]],
    params: Mapping[str, Any],
    licences: Sequence[Mapping[str, str]],
    description: str = "",
    provenance: Mapping[str, Any] | None = None,
    measured: Mapping[str, Any] | None = None,
    limit: int = LIMIT,
) -> Bundle:
    """Write the bundle `out` from component folders by name (`pipeline`, `critic`, `upscaler`).

    The folder appears whole or not at all, and never replaces another: a release is immutable.
    """
    if out.exists():
        raise ReleaseError(f"{out} exists already; a release never changes: choose another folder")
    Traits(tags, params.get("rules", ()))  # refuses a vocabulary that cannot be drawn from
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch, "bundle")
        for component, source in components.items():
            copy_component(source, folder / component)
        files = [_describe(folder, file) for file in bundle_files(folder)]
        size = sum(file["bytes"] for file in files)
        if size > limit:
            raise ReleaseError(f"the bundle has {size:,} bytes; at most {limit:,} are allowed")
        manifest = {
            "format": FORMAT,
            "name": name,
            "title": title,
            "description": description,
            "tags": {group: dict(shares) for group, shares in tags.items()},
            "params": dict(params),
            "components": files,
            "licences": [dict(licence) for licence in licences],
            "provenance": dict(provenance or {}),
            "measured": dict(measured or {}),
        }
        (folder / MANIFEST).write_bytes(encode(manifest))
        folder.rename(out)
    return verify_release(out)


def copy_component(source: Path, target: Path) -> None:
    """Copy a component folder; float32 weights become float16, other files stay as they are."""
    if not source.is_dir():
        raise ReleaseError(f"component folder {source} does not exist")
    for file in bundle_files(source):
        path = target / file
        if path.suffix not in KEPT:
            raise ReleaseError(f"{source / file} is neither configuration nor safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            path.write_bytes(halved(source / file))
        else:
            shutil.copyfile(source / file, path)


def halved(path: Path) -> bytes:
    """The safetensors file with its float32 tensors in half precision."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save

    state = {}
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        for name in file.keys():  # noqa: SIM118  not a dictionary
            value = file.get_tensor(name)
            if value.dtype == torch.float32:
                value = value.half()
                if not value.isfinite().all():
                    raise ReleaseError(f"{path}: {name} is too large for half precision")
            state[name] = value.contiguous()
    return save(state, metadata)


def _describe(folder: Path, file: str) -> dict[str, Any]:
    path = folder / file
    return {"file": file, "sha256": file_digest(path), "bytes": path.stat().st_size}


def read_recipe(path: Path) -> dict[str, Any]:
    """`build_release`'s arguments from a TOML file; relative paths start at the working folder.

    `tags` may name a data set's `dataset.json` instead of listing the groups, and `params.rules`
    the recipe that the data set was built with. `runs` names the training runs' folders, whose
    recipes and last log lines become the provenance; a value of `measured` may name a JSON file.
    """
    recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    needed = {"name", "title", "components", "tags", "params", "licences"}
    if needed - recipe.keys():
        raise ReleaseError(f"{path}: missing {', '.join(sorted(needed - recipe.keys()))}")
    known = needed | {"description", "provenance", "measured", "runs"}
    if recipe.keys() - known:
        raise ReleaseError(f"{path}: unknown {', '.join(sorted(recipe.keys() - known))}")
    if isinstance(recipe["tags"], str):
        recipe["tags"] = _read_json(recipe["tags"])["tags"]
    if isinstance(recipe["params"].get("rules"), str):
        source = tomllib.loads(Path(recipe["params"]["rules"]).read_text(encoding="utf-8"))
        recipe["params"]["rules"] = source.get("rules", [])
    runs = {name: read_run(Path(folder)) for name, folder in recipe.pop("runs", {}).items()}
    recipe["provenance"] = {**recipe.get("provenance", {}), **runs}
    recipe["measured"] = {
        name: _read_json(value) if isinstance(value, str) and value.endswith(".json") else value
        for name, value in recipe.get("measured", {}).items()
    }
    recipe["components"] = {key: Path(value) for key, value in recipe["components"].items()}
    return recipe


def read_run(folder: Path) -> dict[str, Any]:
    """What trained a component: the recipe, its digest, and the last line of the log."""
    recipe = folder / "recipe.toml"
    if not recipe.is_file():
        raise ReleaseError(f"{folder} is not a training run: it has no recipe.toml")
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return {
        "recipe": tomllib.loads(recipe.read_text(encoding="utf-8")),
        "recipe_sha256": file_digest(recipe),
        "last_log": json.loads(lines[-1]) if lines else {},
    }


def _read_json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
