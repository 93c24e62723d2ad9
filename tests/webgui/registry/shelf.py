"""Checkpoints as inspection leaves them: other people's files, made tiny, converted for real."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from models_core.formats.convert import convert
from webgui.registry import storage
from webgui.registry.models import Checkpoint


def write_sources(folder: Path) -> Path:
    """Files as their owners would upload them."""
    import torch

    from models_core.stylegan2 import Discriminator, Generator
    from tests.models_core.enhancer.test_lora import kohya, make_enhancer, pairs
    from tests.models_core.formats.foreign import snapshot
    from tests.models_core.releases.composing import write_lora

    torch.set_num_threads(1)
    torch.manual_seed(5)
    sizes: dict[str, Any] = {"channel_base": 128, "channel_max": 16}
    generator = Generator(
        8, 0, 12, 32, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=sizes
    ).eval()
    pickled = snapshot(generator, Discriminator(0, 32, **sizes), str(folder / "canary"))
    (folder / "faces.pkl").write_bytes(pickled)
    enhancer = make_enhancer()
    enhancer.save(folder / "sd")
    (folder / "sd" / "model_index.json").write_text(SD_INDEX)
    shutil.make_archive(str(folder / "sd"), "zip", folder / "sd")
    kohya(folder, pairs(enhancer))  # lora.safetensors
    wide = {("unet", "down_blocks.1.attentions.0.proj_in"): (torch.ones(2, 32), torch.ones(32, 2))}
    write_lora(folder / "wide", wide)
    return folder


SD_INDEX = """{"_class_name": "StableDiffusionPipeline",
 "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
 "text_encoder": ["transformers", "CLIPTextModel"],
 "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
 "scheduler": ["diffusers", "PNDMScheduler"]}"""


def shelve(source: Path, scratch: Path, name: str = "") -> Checkpoint:
    """The ready checkpoint of a file: its converted form in the store, its report in the row."""
    out = scratch / f"{source.name}-converted"
    report = convert(source, out)
    files = [
        {"file": path.relative_to(out).as_posix(), **storage.store(path)}
        for path in sorted(out.rglob("*"))
        if path.is_file()
    ]
    return Checkpoint.objects.create(
        name=name or source.name,
        state=Checkpoint.State.READY,
        size=sum(file["bytes"] for file in files),
        sha256=hashlib.sha256(source.name.encode()).hexdigest(),
        kind=report["kind"],
        report=report,
        files=files,
        stored_bytes=sum(file["bytes"] for file in files),
    )


def materialise(release: Any, folder: Path) -> Path:
    """The release's folder, as a worker fetches it: by nothing but its digest and the store."""
    import json

    content = storage.place(release.digest).read_bytes()
    assert hashlib.sha256(content).hexdigest() == release.digest
    for entry in json.loads(content)["components"]:
        target = folder / entry["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(storage.place(entry["sha256"]), target)
    (folder / "release.json").write_bytes(content)
    return folder
