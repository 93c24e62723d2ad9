"""Releases over REST: listed, shown, and composed of what fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.integration import tiny_release
from tests.webgui.making import make_pool
from webgui.accounts import audit
from webgui.registry import loading, parts
from webgui.registry.models import Release

RELEASES = "/api/v1/admin/releases/"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf") / "releases" / "tiny"
    folder.parent.mkdir()
    tiny_release.build(folder)
    return folder


@pytest.fixture
def tiny(bundle: Path, db: None, own_home: None, settings: Any) -> Release:
    settings.AVATAR_SIZE = 128
    return loading.load_bundle(bundle)[0]


def body(tiny: Release, **changes: Any) -> dict[str, Any]:
    slots = dict.fromkeys(("prototype", "base", "critic", "upscaler"), tiny.digest)
    return {"title": "Start alone", "params": {"steps": 4}, **slots, **changes}


def post(client: Client, bearer: dict[str, str], content: Any) -> Any:
    return client.post(RELEASES, content, content_type="application/json", headers=bearer)


def test_composed_listed_and_shown(client: Client, bearer: dict[str, str], tiny: Release) -> None:
    answer = post(client, bearer, body(tiny, prefix=["toon"], credits=["Thanks to somebody"]))
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert made["state"] == "draft" and made["pools"] == [] and made["bytes"] > 10_000
    assert made["manifest"]["params"]["steps"] == 4
    assert made["manifest"]["licences"][0] == {"name": "Thanks to somebody"}
    assert not any("adapter/" in entry["file"] for entry in made["manifest"]["components"])
    again = post(client, bearer, body(tiny, prefix=["toon"], credits=["Thanks to somebody"]))
    assert (again.status_code, again.json()["digest"]) == (200, made["digest"])
    assert audit.of(Release.objects.get(digest=made["digest"])).get().token
    make_pool(release=tiny)
    listed = client.get(RELEASES, headers=bearer).json()
    assert [row["pools"] for row in listed] == [[], ["toon"]]
    assert "manifest" not in listed[0]
    shown = client.get(f"{RELEASES}{made['digest']}/", headers=bearer).json()
    assert shown == made
    assert client.get(f"{RELEASES}{'0' * 64}/", headers=bearer).status_code == 404
    drafts = client.get(RELEASES, {"state": "active"}, headers=bearer).json()
    assert drafts == []


def test_what_does_not_fit_is_a_problem_with_every_field(
    client: Client, bearer: dict[str, str], tiny: Release
) -> None:
    wrong = body(tiny, critic="ab" * 32, upscaler="", params={"steps": 0}, title="x")
    answer = post(client, bearer, wrong)
    problem = answer.json()
    assert answer.status_code == 400 and problem["code"] == "does_not_fit"
    assert {fault["field"] for fault in problem["errors"]} == {"critic", "upscaler", "params.steps"}
    assert Release.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"title": 5},
        {"colour": "red"},
        {"loras": [{"weight": 1}]},
        {"loras": [{"part": "x", "weight": 11}]},
        {"prefix": "toon"},
        {"params": []},
    ],
)
def test_a_body_of_another_form(
    client: Client, bearer: dict[str, str], tiny: Release, change: dict[str, Any]
) -> None:
    answer = post(client, bearer, body(tiny, **change))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert answer.json()["errors"][0]["field"].startswith(next(iter(change)))


def test_options_narrow_to_what_fits(
    client: Client, bearer: dict[str, str], tiny: Release, settings: Any
) -> None:
    settings.AVATAR_SIZE = 256
    asked = {"base": tiny.digest, "lora": "nothing"}
    answer = client.get(f"{RELEASES}options/", asked, headers=bearer).json()
    assert "needs an upscaler" in answer["upscaler_needed"]
    (upscaler,) = answer["slots"]["upscaler"]
    assert not upscaler["fits"] and "makes them 128" in upscaler["reason"]
    (base,) = answer["slots"]["base"]
    assert base["chosen"] and base["fits"] and base["sizes"] == "32×32, 16 text channels"
    assert base["part"] in {part.digest for part in parts.all_parts()}
    assert [one["key"] for one in answer["vocabularies"]] == ["prototype", tiny.digest, "none"]
    assert answer["vocabularies"][1]["tags"] == 3
    assert {one["name"] for one in answer["parameters"]} >= {"steps", "truncation", "min_score"}


def test_what_no_database_takes_is_not_found(
    client: Client, bearer: dict[str, str], tiny: Release
) -> None:
    assert client.get(f"{RELEASES}a%00b/", headers=bearer).status_code == 404
    assert client.get(f"{RELEASES}?state=%00", headers=bearer).json() == []
    answer = client.get(f"{RELEASES}options/?base=%00&lora=%00", headers=bearer)
    assert answer.status_code == 200
    assert post(client, bearer, body(tiny, vocabulary="a\0")).status_code == 400
    deep = body(tiny, params={"steps": [1], "scheduler": {}, "guidance": 10**400})
    assert post(client, bearer, deep).json()["code"] == "does_not_fit"


@pytest.mark.parametrize("path", ["", "options/", f"{'a' * 64}/"])
def test_only_staff(client: Client, db: None, path: str) -> None:
    assert client.get(RELEASES + path).status_code == 401
    assert client.post(RELEASES, {}, content_type="application/json").status_code == 401
