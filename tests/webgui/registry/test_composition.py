"""Composing releases of uploads and of other releases' parts, up to the pictures they draw."""

from __future__ import annotations

import dataclasses
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from generator_worker.engine import Engine
from tests.integration import tiny_release
from tests.webgui.registry.shelf import materialise, shelve, write_sources
from webgui.accounts import audit
from webgui.registry import checkpoints, loading, options, parts, storage, vocabularies
from webgui.registry.composition import LoraWish, Wish, compose, wish_of
from webgui.registry.models import Checkpoint, Release
from webgui.registry.problems import DoesNotFit, NotNow

pytestmark = pytest.mark.django_db
ACTOR = audit.COMMAND_LINE


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_sources(tmp_path_factory.mktemp("sources"))
    tiny_release.build(folder / "shelf" / "tiny")
    return folder


@pytest.fixture
def tiny(sources: Path, home: Path, settings: Any) -> Release:
    """A release of our own training, loaded from its folder."""
    settings.AVATAR_SIZE = 128
    return loading.load_bundle(sources / "shelf" / "tiny")[0]


@pytest.fixture
def uploads(sources: Path, tmp_path: Path, tiny: Release) -> dict[str, Checkpoint]:
    names = {"faces": "faces.pkl", "sd": "sd.zip", "lora": "lora.safetensors", "wide": "wide"}
    files = {"wide": sources / "wide" / "pytorch_lora_weights.safetensors"}
    return {key: shelve(files.get(key, sources / name), tmp_path) for key, name in names.items()}


@pytest.fixture
def wish(uploads: dict[str, Checkpoint], tiny: Release) -> Wish:
    """A StyleGAN2 pickle and a Stable Diffusion of others, with critic and upscaler of ours."""
    return Wish(
        title="Faces",
        prototype=str(uploads["faces"].pk),
        base=str(uploads["sd"].pk),
        critic=tiny.digest,
        upscaler=tiny.digest,
        vocabulary=tiny.digest,
        params={"steps": 2, "scheduler": "euler"},
    )


def drawn(release: Release, folder: Path) -> np.ndarray:
    """Two pictures by the worker's engine, from what lies in the store."""
    materialise(release, folder / release.digest[:8])
    loaded = Engine([folder], device="cpu").release(release.digest)
    drafts = loaded.generate([1, 2])
    assert [image.size for image in loaded.upscale([drafts[0].image])] == [(128, 128)]
    return np.stack([np.asarray(draft.image, dtype=int) for draft in drafts])


def faults(wish: Wish, **changes: Any) -> dict[str, str]:
    with pytest.raises(DoesNotFit) as refusal:
        compose(dataclasses.replace(wish, **changes), ACTOR)
    return refusal.value.faults


def test_uploads_become_a_release_that_the_engine_draws(
    wish: Wish, uploads: dict[str, Checkpoint], tmp_path: Path
) -> None:
    lora = str(uploads["lora"].pk)
    plain, new = compose(wish, ACTOR)
    assert new and plain.state == "draft" and audit.of(plain).get().act == "release.composed"
    off, _ = compose(dataclasses.replace(wish, loras=(LoraWish(lora, 0),)), ACTOR)
    on, _ = compose(dataclasses.replace(wish, loras=(LoraWish(lora, 1),)), ACTOR)
    assert len({plain.digest, off.digest, on.digest}) == 3
    without = drawn(plain, tmp_path)
    assert np.array_equal(drawn(off, tmp_path), without)
    assert np.abs(drawn(on, tmp_path) - without).max() > 8
    assert on.manifest["params"]["loras"] == [
        {"folder": "loras/1", "weight": 1.0, "name": "lora.safetensors"}
    ]
    assert not any("discriminator" in entry["file"] for entry in on.manifest["components"])
    assert checkpoints.used_by([uploads["lora"]])[uploads["lora"].pk] == [on, off]
    with pytest.raises(NotNow, match="Releases are made of it"):
        checkpoints.delete(uploads["lora"], ACTOR)


def test_the_same_composition_is_the_same_release(wish: Wish, uploads: dict) -> None:
    wish = dataclasses.replace(wish, loras=(LoraWish(str(uploads["lora"].pk), 0.5),))
    release, _ = compose(wish, ACTOR)
    assert compose(wish, "another") == (release, False)
    again = wish_of(release)
    assert compose(again, ACTOR) == (release, False)
    changed, new = compose(dataclasses.replace(again, title="Other faces"), ACTOR)
    assert new and changed.digest != release.digest and changed.name == "other-faces"
    assert wish_of(changed).loras[0].weight == 0.5
    # A third of the second's parts is still made of the uploads.
    third, _ = compose(dataclasses.replace(wish_of(changed), title="Third"), ACTOR)
    assert [part["title"] for part in third.manifest["provenance"]["parts"]] == [
        *("faces.pkl", "sd.zip", "Tiny heads", "Tiny heads", "lora.safetensors")
    ]


def test_a_clone_of_a_trained_release_keeps_its_adapter(tiny: Release, tmp_path: Path) -> None:
    clone, _ = compose(
        dataclasses.replace(wish_of(tiny), title="Calmer", params={"steps": 2, "truncation": 0.5}),
        ACTOR,
    )
    materialise(clone, tmp_path / "clone")
    loaded = Engine([tmp_path], device="cpu").release(clone.digest)
    assert loaded.pipeline.adapter is not None
    assert clone.manifest["tags"] == tiny.manifest["tags"]
    assert clone.manifest["licences"] == tiny.manifest["licences"]
    assert clone.manifest["params"]["size"] == 128
    assert set(clone.manifest["provenance"]["sources"]) == {tiny.digest}
    (draft,) = loaded.generate([3], tags=["smiling"])
    assert "smiling" in draft.tags


def test_what_does_not_fit_is_said_field_by_field(
    wish: Wish, tiny: Release, uploads: dict[str, Checkpoint]
) -> None:
    found = faults(
        wish,
        title=" ",
        prototype="",
        base=str(uploads["sd"].pk),
        critic="0" * 64,
        upscaler="",
        loras=(LoraWish(str(uploads["wide"].pk), 99), LoraWish("nothing")),
        vocabulary="mine",
        params={"steps": 0, "guidance": "many", "colour": 1, "scheduler": "magic", "strength": 0},
    )
    assert found == {
        "prototype": "Choose a prototype.",
        "critic": "There is no such critic (any more).",
        "upscaler": "sd.zip draws 32 pixels a side, and avatars have 128: it needs an upscaler.",
        "loras.0.weight": "It must be a number from -10 to 10.",
        "loras.1": "There is no such LoRA (any more).",
        "params.steps": "It must be a whole number from 1 to 200.",
        "params.guidance": "It must be a number from 0 to 30.",
        "params.colour": found["params.colour"],
        "params.scheduler": "It is one of euler, euler-ancestral, heun, dpm++, ddim.",
        "params.strength": "It must be above 0: at 0 there is nothing to enhance.",
        "vocabulary": "It is none, prototype, or the digest of a release.",
        "title": "Give it a title of at most 200 letters.",
    }
    assert not Release.objects.exclude(pk=tiny.pk).exists()


def test_parts_are_held_against_each_other(
    wish: Wish, tiny: Release, uploads: dict[str, Checkpoint], settings: Any
) -> None:
    assert faults(wish, adapter=tiny.digest) == {
        "adapter": "The adapter Tiny heads was trained for 6 w's of 8 numbers; the prototype "
        "faces.pkl has 8 of 12."
    }
    assert faults(wish, loras=(LoraWish(str(uploads["wide"].pk)),)) == {
        "loras.0": "The LoRA pytorch_lora_weights.safetensors changes 32 channels in "
        "down_blocks.1; the base sd.zip has 16."
    }
    twice = (LoraWish(str(uploads["lora"].pk)),) * 2
    assert faults(wish, loras=twice) == {"loras.1": "It is there already: give one weight."}
    settings.AVATAR_SIZE = 512
    assert "makes them 128; avatars have 512" in faults(wish)["upscaler"]


def test_options_say_what_fits_and_why_the_rest_does_not(wish: Wish, tiny: Release) -> None:
    free = options.narrow(Wish())
    assert all(option.fits for offered in free.slots.values() for option in offered)
    assert [option.part.title for option in free.slots["prototype"]] == ["faces.pkl", "Tiny heads"]
    narrowed = options.narrow(Wish(prototype=wish.prototype, base=wish.base))
    (adapter,) = narrowed.slots["adapter"]
    assert not adapter.fits and "6 w's of 8 numbers" in adapter.reason
    assert narrowed.upscaler_needed
    loras = {option.part.title: option.fits for option in narrowed.slots["lora"]}
    assert loras == {"lora.safetensors": True, "pytorch_lora_weights.safetensors": False}
    (chosen,) = [option for option in narrowed.slots["prototype"] if option.chosen]
    assert chosen.sizes == "32×32, w 8×12, no labels"
    with_adapter = options.narrow(Wish(adapter=tiny.digest))
    reasons = {option.part.title: option.reason for option in with_adapter.slots["prototype"]}
    assert not reasons["Tiny heads"] and "faces.pkl has 8 of 12" in reasons["faces.pkl"]


def test_a_part_that_tells_no_sizes_is_offered_with_the_reason(
    wish: Wish, uploads: dict[str, Checkpoint]
) -> None:
    row = uploads["sd"]
    row.files = [f for f in row.files if f["file"] != "unet/config.json"]
    row.save()
    (part,) = [part for part in parts.all_parts() if part.checkpoint == row]
    assert part.trouble == "It has no config.json."
    assert "base" in faults(wish)


def test_vocabularies(tiny: Release, wish: Wish) -> None:
    clone, _ = compose(dataclasses.replace(wish_of(tiny), title="Clone"), ACTOR)
    keys = [choice.key for choice in vocabularies.choices()]
    assert keys == ["prototype", tiny.digest, "none"]  # the clone has the same
    assert vocabularies.key_in(clone) == tiny.digest
    plain, _ = compose(dataclasses.replace(wish, vocabulary="prototype"), ACTOR)
    assert plain.manifest["tags"] == {}
    assert [*clone.manifest["tags"]] == [*tiny.manifest["tags"]]


def test_deleting_the_first_release_leaves_the_files_of_the_second(
    tiny: Release, tmp_path: Path
) -> None:
    clone, _ = compose(dataclasses.replace(wish_of(tiny), title="Clone"), ACTOR)
    loading.forget(tiny)
    assert not storage.place(tiny.digest).exists()
    materialise(clone, tmp_path / "clone")
    again, _ = compose(wish_of(clone), ACTOR)
    assert again.manifest["components"] == clone.manifest["components"]


def test_by_command(wish: Wish, tiny: Release, uploads: dict[str, Checkpoint]) -> None:
    named = {"prototype": wish.prototype, "base": wish.base, "critic": tiny.digest}
    asked = [f"--{slot}={key}" for slot, key in named.items()]
    out = StringIO()
    call_command("compose_release", *asked, "--options", stdout=out)
    assert "was trained for 6 w's of 8" in out.getvalue() and " * " in out.getvalue()
    with pytest.raises(CommandError, match=r"upscaler: sd\.zip draws 32 pixels"):
        call_command("compose_release", "Faces", *asked)
    more = [f"--upscaler={tiny.digest}", f"--lora={uploads['lora'].pk}=0.5", "--param=steps=4"]
    call_command("compose_release", "Faces", *asked, *more, stdout=out)
    release = Release.objects.get(title="Faces")
    assert release.digest in out.getvalue()
    assert release.manifest["params"]["loras"][0]["weight"] == 0.5
    assert release.manifest["params"]["steps"] == 4


def test_a_stable_diffusion_in_one_file_draws_as_large_as_avatars(
    tiny: Release, tmp_path: Path, settings: Any
) -> None:
    """Of its usual sizes, with few of its tensors: nothing is drawn here."""
    import torch
    from safetensors.torch import save_file

    from tests.models_core.formats.test_base import UNET, ldm

    settings.AVATAR_SIZE = 512
    state = ldm() | {f"{UNET}input_blocks.0.0.weight": torch.zeros(320, 4, 3, 3)}
    save_file(state, tmp_path / "sd.safetensors", {"modelspec.license": "CreativeML Open RAIL-M"})
    row = shelve(tmp_path / "sd.safetensors", tmp_path)
    wish = Wish("SD", prototype=tiny.digest, base=str(row.pk), critic=tiny.digest)
    release, _ = compose(wish, ACTOR)
    files = {entry["file"] for entry in release.manifest["components"]}
    assert {"base/config.json", "base/model.safetensors"} <= files
    assert not any(file.startswith(("upscaler/", "pipeline/unet/")) for file in files)
    assert {"what": "base", "name": "sd.safetensors", "licence": "CreativeML Open RAIL-M"} in (
        release.manifest["licences"]
    )
    folder = materialise(release, tmp_path / "release")
    index = (folder / "pipeline" / "model_index.json").read_text()
    assert '"unet"' not in index and '"Prototype"' in index
    assert "192" not in index and release.manifest["params"]["size"] == 512
    settings.AVATAR_SIZE = 1024
    assert "needs an upscaler" in faults(wish)["upscaler"]
