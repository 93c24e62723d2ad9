import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generator_worker.contract import ReleaseManifest
from models_core.releases.build import build_release, read_recipe
from models_core.releases.bundle import MANIFEST, ReleaseError, release_digest, verify_release

TAGS = {"mouth": {"smiling": 0.6, "frowning": 0.4}, "hair": {"pink hair": 0.1}}


def part(folder: Path, value: float = 1.5) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"kind": "Part"}\n')
    state = {"weight": torch.full((4, 3), value), "count": torch.tensor([3])}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def build(tmp_path, out="bundle", **changes):
    options = {
        "name": "tiny",
        "title": "Tiny",
        "tags": TAGS,
        "params": {"steps": 10, "strength": 0.6},
        "licences": [{"name": "CC BY 4.0", "of": "art"}],
        **changes,
    }
    folder = tmp_path / "critic"
    components = {"critic": folder if folder.exists() else part(folder)}
    return build_release(tmp_path / out, components, **options)


def test_the_manifest_is_what_the_contract_reads(tmp_path):
    bundle = build(tmp_path, provenance={"run": "a"}, measured={"benign_rate": 0.8})
    text = (bundle.folder / MANIFEST).read_text()
    manifest = ReleaseManifest.model_validate_json(text)
    assert manifest.name == "tiny" and manifest.measured == {"benign_rate": 0.8}
    assert [c.file for c in manifest.components] == [
        "critic/config.json",
        "critic/model.safetensors",
    ]
    assert list(json.loads(text)["tags"]) == ["mouth", "hair"], "the caption's order is kept"


def test_the_digest_names_the_content(tmp_path):
    one, same = build(tmp_path, "one"), build(tmp_path, "same")
    other = build(tmp_path, "other", title="Other")
    assert one.digest == same.digest == release_digest(one.folder)
    assert other.digest != one.digest
    part(tmp_path / "more" / "critic", value=2.5)
    assert build(tmp_path / "more").digest != one.digest


def test_weights_are_halved_and_nothing_else_is(tmp_path):
    bundle = build(tmp_path)
    state = load_file(bundle.folder / "critic/model.safetensors")
    assert state["weight"].dtype == torch.float16 and state["weight"][0, 0] == 1.5
    assert state["count"].dtype == torch.int64


def test_weights_beyond_half_precision_are_refused(tmp_path):
    part(tmp_path / "critic", value=1e6)
    with pytest.raises(ReleaseError, match="weight is too large"):
        build(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["critic"], "nothing is left behind"


def test_a_release_never_changes(tmp_path):
    build(tmp_path)
    with pytest.raises(ReleaseError, match="never changes"):
        build(tmp_path, title="Another")


def test_too_large_a_bundle_is_refused(tmp_path):
    with pytest.raises(ReleaseError, match="at most 10 are allowed"):
        build(tmp_path, limit=10)
    assert not (tmp_path / "bundle").exists()


def damage_weights(folder):
    file = folder / "critic/model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def link_out(folder):
    (folder / "critic/extra.json").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (damage_weights, "changed or cut"),
        (lambda folder: (folder / "critic/config.json").unlink(), "is missing"),
        (lambda folder: (folder / "more.json").write_text("{}"), "not part of the release"),
        (link_out, "symbolic link"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "is not JSON"),
        (lambda folder: (folder / MANIFEST).unlink(), "not a release bundle"),
    ],
)
def test_a_harmed_bundle_is_refused(tmp_path, harm, reason):
    folder = build(tmp_path).folder
    harm(folder)
    with pytest.raises(ReleaseError, match=reason):
        verify_release(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2"),
        ({"surprise": 1}, "unknown field 'surprise'"),
        ({"tags": []}, "'tags' must be"),
        ({"components": [{"file": "../a", "sha256": "0" * 64, "bytes": 1}]}, "stay inside"),
        ({"components": [{"file": "/a", "sha256": "0" * 64, "bytes": 1}]}, "stay inside"),
        ({"components": [{"file": "a", "sha256": "zz", "bytes": 1}]}, "not a SHA-256"),
        ({"components": [{"file": "a"}]}, "needs file, sha256 and bytes"),
    ],
)
def test_a_manifest_of_another_shape_is_refused(tmp_path, change, reason):
    folder = build(tmp_path).folder
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, **change}))
    with pytest.raises(ReleaseError, match=reason):
        verify_release(folder)


def test_a_recipe_takes_its_facts_from_where_they_were_made(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"tags": TAGS}))
    rule = '[[rules]]\nwhen = { "mouth" = ["smiling"] }\nthen = { "hair" = [""] }\n'
    (tmp_path / "data.toml").write_text(rule)
    part(tmp_path / "critic")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/recipe.toml").write_text("steps = 9\n")
    (tmp_path / "run/log.jsonl").write_text('{"step": 5}\n{"step": 9}\n')
    (tmp_path / "report.json").write_text('{"real_benign": 0.97}')
    (tmp_path / "release.toml").write_text(
        f"""
        name = "tiny"
        title = "Tiny"
        tags = "{tmp_path}/dataset.json"
        components = {{ critic = "{tmp_path}/critic" }}
        params = {{ steps = 10, rules = "{tmp_path}/data.toml" }}
        licences = [{{ name = "CC0" }}]
        runs = {{ critic = "{tmp_path}/run" }}
        measured = {{ critic = "{tmp_path}/report.json", benign_rate = 0.8 }}
        """
    )
    bundle = build_release(tmp_path / "out", **read_recipe(tmp_path / "release.toml"))
    assert bundle.manifest["tags"] == TAGS
    assert bundle.manifest["params"]["rules"][0]["then"] == {"hair": [""]}
    assert bundle.manifest["provenance"]["critic"]["last_log"] == {"step": 9}
    assert bundle.manifest["provenance"]["critic"]["recipe"] == {"steps": 9}
    assert bundle.manifest["measured"] == {"critic": {"real_benign": 0.97}, "benign_rate": 0.8}
    (tmp_path / "release.toml").write_text('name = "tiny"')
    with pytest.raises(ReleaseError, match="missing components"):
        read_recipe(tmp_path / "release.toml")
