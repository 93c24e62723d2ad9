"""The administrators' pages about checkpoints, as the server renders them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.webgui.making import make_release
from webgui.pages.findings import facts
from webgui.registry import storage
from webgui.registry.models import Checkpoint, Upload

SHELF, UPLOAD = "/manage/checkpoints/", "/manage/checkpoints/upload/"


@pytest.fixture
def keeper(home: object, db: None) -> Client:
    client = Client()
    client.force_login(get_user_model().objects.create_user("keeper", is_staff=True))
    return client


def make(state: str = "ready", **fields: Any) -> Checkpoint:
    return Checkpoint.objects.create(**({"name": "hat.pkl", "size": 4096, "state": state} | fields))


def page(client: Client, path: str, status: int = 200) -> str:
    response = client.get(path)
    assert response.status_code == status
    return response.content.decode()


@pytest.mark.parametrize("path", [SHELF, UPLOAD])
def test_visitors_are_sent_to_sign_in(client: Client, db: None, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 302 and response["Location"].startswith("/admin/login/")
    client.force_login(get_user_model().objects.create_user("visitor"))
    assert client.get(path).status_code == 302
    assert "Checkpoints" not in page(client, "/about/")


def test_nothing_yet(keeper: Client) -> None:
    assert "Nothing here yet" in page(keeper, SHELF)
    assert SHELF in page(keeper, "/about/")  # the way there, for administrators


def test_the_shelf_tells_state_size_kind_and_use(keeper: Client) -> None:
    file = {"file": "model.safetensors", "sha256": "ab" * 32, "bytes": 5}
    report = {"resolution": 64}
    make(kind="stylegan2", files=[file], report=report, name="faces.pkl")
    release = make_release()
    release.manifest["components"] = [file]
    release.save()
    half = make("uploading", name="half.safetensors", size=200)
    Upload.objects.create(checkpoint=half, length=200, offset=50)
    make("unsafe", name="<b>evil</b>.pkl", reason="It reaches for os.system.")
    text = page(keeper, SHELF)
    assert "StyleGAN2 generator · 64×64 · 4.0\xa0KB" in text
    assert "Used by Toon heads" in text
    assert "Uploading 25 %" in text
    assert "Refused as unsafe" in text and "It reaches for os.system." in text
    assert "&lt;b&gt;evil&lt;/b&gt;.pkl" in text and "<b>evil" not in text


def test_the_report_of_a_refusal(keeper: Client) -> None:
    row = make("unsupported", reason="This is a GGUF file.", report={"accepted": ["A LoRA"]})
    text = page(keeper, f"{SHELF}{row.pk}/")
    assert "This is a GGUF file." in text and "A LoRA" in text and "Inspect again" in text
    answer = keeper.post(f"{SHELF}{row.pk}/", {"act": "inspect", "kind": "lora"})
    assert answer.status_code == 302
    row.refresh_from_db()
    assert (row.state, row.kind_wanted) == ("inspecting", "lora")
    # While that lasts it can be neither deleted nor inspected once more.
    for act in ("inspect", "delete"):
        refused = keeper.post(f"{SHELF}{row.pk}/", {"act": act})
        assert refused.status_code == 409 and 'role="alert"' in refused.content.decode()
    assert "Delete" not in page(keeper, f"{SHELF}{row.pk}/")


def test_the_report_of_a_good_one_and_its_end(keeper: Client, home: Any) -> None:
    (home / "weights").write_bytes(b"weights")
    file = {"file": "model.safetensors", **storage.store(home / "weights")}
    report = {"architecture": "StyleGAN2-ADA", "parameters": 24767458, "trained_on": None}
    row = make(kind="stylegan2", files=[file], report=report, sha256="cd" * 32)
    text = page(keeper, f"{SHELF}{row.pk}/")
    assert "24,767,458" in text and file["sha256"] in text and "cd" * 32 in text
    assert "Trained on" not in text and "It is a release" not in text
    assert keeper.post(f"{SHELF}{row.pk}/", {"act": "delete"}).status_code == 302
    assert page(keeper, f"{SHELF}{row.pk}/", 404)
    assert not storage.place(file["sha256"]).exists()


def test_giving_a_half_done_upload_up(keeper: Client, home: Any, settings) -> None:
    row = make("uploading", name="half.safetensors")
    Upload.objects.create(checkpoint=row, length=4096, offset=50)
    settings.UPLOAD_ROOT.mkdir()
    row.original.write_bytes(b"x" * 50)
    assert "half.safetensors" in page(keeper, UPLOAD)
    keeper.post(f"{SHELF}{row.pk}/", {"act": "delete"})
    assert not Checkpoint.objects.exists() and not row.original.exists()
    assert "Half done" not in page(keeper, UPLOAD)


def test_facts_in_words() -> None:
    told = facts(
        {
            "inspection": 1,
            "kind": "lora",
            "note": "x" * 700,
            "rank": 8,
            "targets": {"to_q": 16, "to_k": 16},
            "trigger_words": ["toon", "head"],
            "licence": "",
            "conditioning": {"label": 0},
        }
    )
    assert told[:4] == [
        ("Conditioning", "no labels"),
        ("Rank", "8"),
        ("Targets", "to q 16, to k 16"),
        ("Trigger words", "toon, head"),
    ]
    assert told[4][0] == "Note" and len(told[4][1]) == 601 and len(told) == 5


def test_what_steers_a_model_in_words() -> None:
    told = {"resolution": 64, "conditioning": {"label": 1500, "text": 768}}
    assert facts(told) == [
        ("Resolution", "64 × 64"),
        ("Conditioning", "1,500 labels, 768 text channels"),
    ]


def test_an_uploaded_release_leads_to_its_page(keeper: Client) -> None:
    file = {"file": "model.safetensors", "sha256": "ab" * 32, "bytes": 5}
    row = make(kind="release", name="toon.zip", files=[file])
    release = make_release(components=[file])
    link = f'href="/manage/releases/{release.digest}/">Toon heads'
    assert f"It is a release now: <a {link}" in page(keeper, f"{SHELF}{row.pk}/")
