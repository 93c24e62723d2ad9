"""The administrators' pages about releases, as the server renders them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.integration import tiny_release
from tests.webgui.making import make_pool
from webgui.registry import loading
from webgui.registry.models import Release

SHELF, NEW = "/manage/releases/", "/manage/releases/new/"


@pytest.fixture
def keeper(home: object, db: None) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_user("keeper", is_staff=True))
    return client


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shelf") / "releases" / "tiny"
    folder.parent.mkdir()
    tiny_release.build(folder)
    return folder


@pytest.fixture
def tiny(bundle: Path, home: object, db: None, settings: Any) -> Release:
    settings.AVATAR_SIZE = 128
    return loading.load_bundle(bundle)[0]


def page(client: Client, path: str, status: int = 200, **asked: str) -> str:
    response = client.get(path, asked)
    assert response.status_code == status
    return response.content.decode()


@pytest.mark.parametrize("path", [SHELF, NEW, f"{SHELF}{'a' * 64}/"])
def test_visitors_are_sent_to_sign_in(client: Client, db: None, path: str) -> None:
    client.force_login(get_user_model().objects.create_user("visitor"))
    response = client.get(path)
    assert response.status_code == 302 and response["Location"].startswith("/admin/login/")
    assert client.post(path, {"title": "x"}).status_code == 302


def test_nothing_yet(keeper: Client) -> None:
    assert "Nothing here yet" in page(keeper, SHELF)
    assert "Upload one" in page(keeper, NEW)
    page(keeper, f"{SHELF}{'a' * 64}/", 404)
    page(keeper, NEW, 404, **{"from": "a" * 64})


def test_the_shelf_and_a_release(keeper: Client, tiny: Release) -> None:
    make_pool(release=tiny)
    text = page(keeper, SHELF)
    assert "Tiny heads" in text and "adapter, 3 tags" in text and "Toon" in text
    text = page(keeper, f"{SHELF}{tiny.digest}/")
    assert "Clone to change" in text and tiny.digest in text
    for label in ("Prototype", "Base", "Adapter", "Critic", "Upscaler"):
        assert f"<h3>{label}</h3>" in text
    component = tiny.manifest["components"][0]
    assert component["sha256"] in text
    assert "0.7, as usual" not in text and "Steps</dt><dd>12" in text
    assert "hair colour (2), mouth (1)" in text and "CC0" in text


def test_a_clone_is_composed_by_the_form(keeper: Client, tiny: Release) -> None:
    text = page(keeper, NEW, **{"from": tiny.digest})
    assert 'value="Tiny heads"' in text and 'name="params.steps" value="12"' in text
    assert f'<option value="{tiny.digest}" selected>Tiny heads (3 tags)' in text
    slots = dict.fromkeys(("prototype", "base", "critic", "upscaler", "adapter"), tiny.digest)
    sent = {**slots, "title": "Calmer", "params.truncation": "0.4", "params.scheduler": "heun"}
    more = {"prefix": "toon,  friendly ", "credits": "One\n\nTwo", "vocabulary": tiny.digest}
    answer = keeper.post(NEW, {**sent, **more})
    made = Release.objects.get(title="Calmer")
    assert answer["Location"] == f"{SHELF}{made.digest}/"
    assert made.manifest["params"]["prefix"] == ["toon", "friendly"]
    assert made.manifest["params"]["scheduler"] == "heun"
    assert made.manifest["params"]["truncation"] == 0.4
    assert made.manifest["provenance"]["credits"] == ["One", "Two"]
    text = page(keeper, f"{SHELF}{made.digest}/")
    assert "<dt>One</dt><dd>as its administrators say</dd>" in text
    assert text.count(f'of <a href="{SHELF}{tiny.digest}/">Tiny heads</a>') == 5
    assert f"From Tiny heads {tiny.digest[:12]}" not in text  # it told of no training


def test_a_refused_form_keeps_what_was_sent(keeper: Client, tiny: Release) -> None:
    sent = {"title": "<b>New</b>", "base": tiny.digest, "params.steps": "900", "lora": "gone"}
    answer = keeper.post(NEW, sent)
    text = answer.content.decode()
    assert answer.status_code == 400 and 'role="alert"' in text
    assert "Choose a prototype." in text and "Choose a critic." in text
    assert "Steps: It must be a whole number from 1 to 200." in text and 'value="900"' in text
    assert "There is no such LoRA (any more)." in text
    assert "&lt;b&gt;New" in text and "<b>New" not in text
    assert "it needs an upscaler" in text
    assert Release.objects.count() == 1
    nothing = {"title": "a\0b", "vocabulary": "\0", "prefix": "\0", "base": "\0", "lora": "\0"}
    assert keeper.post(NEW, nothing).status_code == 400
    assert keeper.get(NEW, {"from": "\0"}).status_code == 404


def test_without_a_script_the_form_narrows_when_it_is_sent_with_get(
    keeper: Client, tiny: Release, settings: Any
) -> None:
    settings.AVATAR_SIZE = 4096
    text = page(keeper, NEW, base=tiny.digest, title="Half a form")
    assert "makes them 128; avatars have 4096" in text and 'value="Half a form"' in text
    assert text.count(" disabled ") == 1
