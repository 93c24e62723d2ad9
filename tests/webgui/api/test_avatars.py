"""POST avatars/, GET avatars/{id}/ and its image."""

from __future__ import annotations

import io
import uuid
from urllib.parse import urlsplit

import pytest
from django.db import OperationalError
from django.test import Client
from PIL import Image

from tests.webgui.api.asking import post_claim, problem_of
from tests.webgui.making import stock
from webgui.api import views
from webgui.buffer.models import Avatar, Pool
from webgui.fleet.models import Worker

FIELDS = {
    "id", "pool", "release", "seed", "score", "tags", "width", "height", "image", "page",
    "claimed_at",
}  # fmt: skip


class TestClaim:
    def test_201_with_everything_about_the_avatar(self, client: Client, filled: Pool) -> None:
        response = post_claim(client)
        assert response.status_code == 201
        body = response.json()
        assert set(body) == FIELDS
        assert body["pool"] == "toon" and body["release"] == filled.release.digest
        assert sorted(body["tags"]) == ["pink hair", "smiling"]
        assert (body["width"], body["height"]) == (512, 512)
        assert response["Location"] == f"http://testserver/api/v1/avatars/{body['id']}/"
        assert body["page"] == f"http://testserver/avatars/{body['id']}/"
        assert response["Cache-Control"] == "no-store"
        assert client.get(response["Location"]).json() == body
        image = client.get(urlsplit(body["image"]).path)
        assert Image.open(io.BytesIO(image.content)).size == (512, 512)

    def test_neither_cookie_nor_token_is_given_or_asked_for(
        self, client: Client, filled: Pool
    ) -> None:
        assert post_claim(client, {}).status_code == 201
        assert not client.cookies

    @pytest.mark.parametrize("body", ["", b"", {}, {"pool": None, "tags": None}, {"tags": []}])
    def test_everything_may_be_left_out(self, client: Client, filled: Pool, body: object) -> None:
        assert post_claim(client, body).status_code == 201

    def test_it_takes_few_queries(
        self, client: Client, filled: Pool, django_assert_max_num_queries
    ) -> None:
        # The pool; begin, pick (twice where the ring ends), take, its tags, commit.
        with django_assert_max_num_queries(7):
            assert post_claim(client).status_code == 201

    def test_by_pool_and_tags(self, client: Client, filled: Pool) -> None:
        body = {"pool": "toon", "tags": ["smiling", "pink hair"]}
        assert post_claim(client, body).status_code == 201

    def test_a_browsers_claim_goes_to_its_visitor(self, client: Client, filled: Pool) -> None:
        client.get("/")
        assert "visitor" in client.cookies
        avatar = Avatar.objects.get(pk=post_claim(client).json()["id"])
        assert avatar.claimed_by.startswith("visitor:")

    def test_a_forged_visitor_is_nobody(self, client: Client, filled: Pool) -> None:
        client.cookies["visitor"] = "someone-else"
        avatar = Avatar.objects.get(pk=post_claim(client).json()["id"])
        assert avatar.claimed_by == "address:127.0.0.1"


class TestRefusedClaims:
    @pytest.mark.parametrize(
        ("body", "code", "field"),
        [
            ({"pool": "nope"}, "unknown_pool", "pool"),
            ({"tags": ["green hair"]}, "unknown_tag", "tags"),
            ({"tags": ["pink hair", "black hair"]}, "conflicting_tags", "tags"),
            ({"pool": 5}, "invalid", "pool"),
            ({"pool": ["toon"]}, "invalid", "pool"),
            ({"pool": ""}, "invalid", "pool"),
            ({"pool": "a\x00b"}, "invalid", "pool"),
            ({"pool": "x" * 51}, "invalid", "pool"),
            ({"tags": "smiling"}, "invalid", "tags"),
            ({"tags": {"a": 1}}, "invalid", "tags"),
            ({"tags": [1]}, "invalid", "tags.0"),
            ({"tags": [None]}, "invalid", "tags.0"),
            ({"tags": ["smiling"] * 21}, "invalid", "tags"),
            ({"tag": "smiling"}, "invalid", "tag"),
            ([], "invalid", "body"),
            (5, "invalid", "body"),
            ('{"pool": "\\ud800"}', "invalid", "pool"),
        ],
    )
    def test_what_does_not_fit_is_named(
        self, client: Client, filled: Pool, body: object, code: str, field: str
    ) -> None:
        problem = problem_of(post_claim(client, body), 400, code)
        assert field in [fault["field"] for fault in problem["errors"]]
        assert Avatar.objects.filter(state=Avatar.State.AVAILABLE).count() == 3

    def test_the_accepted_values_are_given(self, client: Client, filled: Pool) -> None:
        problem = problem_of(post_claim(client, {"pool": "nope"}), 400, "unknown_pool")
        assert problem["errors"][0]["accepted"] == ["toon"]
        problem = problem_of(post_claim(client, {"tags": ["x"]}), 400, "unknown_tag")
        assert "pink hair" in problem["errors"][0]["accepted"]

    @pytest.mark.parametrize("body", [{"tags": "smiling"}, {"tags": [1]}, {"pool": 5, "tags": 5}])
    def test_so_they_are_where_the_type_is_wrong(
        self, client: Client, filled: Pool, body: dict
    ) -> None:
        problem = problem_of(post_claim(client, body), 400, "invalid")
        accepted = {"pool": ["toon"], "tags": sorted(filled.release.tags)}
        assert {fault["field"].partition(".")[0] for fault in problem["errors"]} == set(body)
        for fault in problem["errors"]:
            assert fault["accepted"] == accepted[fault["field"].partition(".")[0]]

    def test_a_field_nobody_knows_accepts_nothing(self, client: Client, filled: Pool) -> None:
        problem = problem_of(post_claim(client, {"tag": "smiling"}), 400, "invalid")
        assert "accepted" not in problem["errors"][0]

    @pytest.mark.parametrize(
        "body", ["{", "nonsense", b"\xff\xfe", '{"pool": NaN}', "[" * 5000, "{'a': 1}"]
    )
    def test_what_is_no_json(self, client: Client, filled: Pool, body: object) -> None:
        problem_of(post_claim(client, body), 400, "malformed_body")

    def test_a_huge_body(self, client: Client, filled: Pool) -> None:
        problem_of(post_claim(client, {"tags": ["x" * 20_000]}), 413, "body_too_large")

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x"])
    def test_other_kinds_of_body(self, client: Client, filled: Pool, kind: str) -> None:
        response = post_claim(client, "pool=toon", Content_Type=kind)
        problem_of(response, 415, "unsupported_media_type")

    @pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
    def test_an_empty_form_is_no_claim(self, client: Client, filled: Pool, kind: str) -> None:
        # Django's client leaves the type of an empty body out unless it is told so.
        response = client.generic("POST", "/api/v1/avatars/", CONTENT_TYPE=kind)
        problem_of(response, 415, "unsupported_media_type")
        assert Avatar.objects.filter(state=Avatar.State.AVAILABLE).count() == 3

    def test_another_sites_page_cannot_claim(self, client: Client, filled: Pool) -> None:
        response = post_claim(client, Sec_Fetch_Site="cross-site")
        problem_of(response, 403, "cross_site")
        assert "RateLimit-Remaining" not in response  # nor use up what the visitor may claim
        assert post_claim(client, Sec_Fetch_Site="same-origin").status_code == 201

    def test_no_body_needs_no_type(self, client: Client, filled: Pool) -> None:
        assert client.generic("POST", "/api/v1/avatars/").status_code == 201

    def test_other_methods(self, client: Client, db: None) -> None:
        response = client.put("/api/v1/avatars/", "{}", content_type="application/json")
        problem_of(response, 405, "method_not_allowed")
        assert "POST" in response["Allow"]

    def test_nothing_there(self, client: Client, db: None) -> None:
        problem_of(client.get("/api/v1/nothing/"), 404, "not_found")
        problem_of(client.get("/api/v1/avatars/5/"), 404, "not_found")

    def test_empty_and_no_worker(self, client: Client, pool: Pool) -> None:
        response = post_claim(client)
        problem_of(response, 503, "no_worker")
        assert int(response["Retry-After"]) > 0

    def test_no_pool_at_all(self, client: Client, db: None) -> None:
        problem_of(post_claim(client), 503, "no_pool")

    def test_a_database_that_fails(
        self, client: Client, filled: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(*_: object, **__: object) -> None:
            raise OperationalError("disk full, at /secret/place")

        monkeypatch.setattr(views, "claim", down)
        response = post_claim(client)
        problem = problem_of(response, 503, "database_unavailable")
        assert response["Retry-After"] and "secret" not in str(problem)

    def test_what_nobody_foresaw(
        self, client: Client, filled: Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(views, "claim", None)
        problem_of(post_claim(client), 500, "server_error")


class TestIdempotencyKey:
    def test_a_retry_gets_the_same_answer(self, client: Client, filled: Pool) -> None:
        key = str(uuid.uuid4())
        first = post_claim(client, {}, Idempotency_Key=key)
        again = post_claim(client, {}, Idempotency_Key=key)
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()
        assert first["Location"] == again["Location"]
        assert Avatar.objects.filter(state=Avatar.State.CLAIMED).count() == 1

    def test_with_another_body_409(self, client: Client, filled: Pool) -> None:
        post_claim(client, {}, Idempotency_Key="k1")
        response = post_claim(client, {"tags": ["smiling"]}, Idempotency_Key="k1")
        problem = problem_of(response, 409, "idempotency_key_reused")
        assert problem["errors"][0]["field"] == "Idempotency-Key"

    def test_another_visitors_409(self, client: Client, filled: Pool) -> None:
        post_claim(client, {}, Idempotency_Key="k1")
        other = Client()
        other.get("/")
        for body in ({}, {"tags": ["smiling"]}):
            response = post_claim(other, body, Idempotency_Key="k1")
            problem_of(response, 409, "idempotency_key_reused")

    def test_an_unusable_one(self, client: Client, filled: Pool) -> None:
        problem_of(post_claim(client, {}, Idempotency_Key="a b"), 400, "bad_idempotency_key")


class TestThrottle:
    def test_every_answer_tells_the_allowance(self, client: Client, pool: Pool, settings) -> None:
        settings.CLAIMS_PER_MINUTE = 3
        stock(pool, 5)
        answers = [post_claim(client) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
        assert [answer["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
        assert {answer["RateLimit-Limit"] for answer in answers} == {"3"}
        problem_of(answers[3], 429, "throttled")
        assert 1 <= int(answers[3]["Retry-After"]) <= 60
        assert Avatar.objects.filter(state=Avatar.State.CLAIMED).count() == 3

    def test_it_ends_with_its_minute(
        self, client: Client, pool: Pool, settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.CLAIMS_PER_MINUTE = 1
        stock(pool, 5)
        assert [post_claim(client).status_code for _ in range(2)] == [201, 429]
        import time

        later = time.time() + 61
        monkeypatch.setattr(time, "time", lambda: later)
        assert post_claim(client).status_code == 201

    def test_throwing_cookies_away_or_lying_about_the_address_does_not_help(
        self, pool: Pool, settings
    ) -> None:
        settings.CLAIMS_PER_MINUTE = 2
        stock(pool, 5)
        answers = [
            post_claim(Client(), {}, X_Forwarded_For=f"10.0.0.{number}") for number in range(3)
        ]
        assert [answer.status_code for answer in answers] == [201, 201, 429]

    def test_others_are_not_held_up(self, pool: Pool, settings) -> None:
        settings.CLAIMS_PER_MINUTE = 1
        stock(pool, 5)
        one, other = Client(REMOTE_ADDR="10.0.0.1"), Client(REMOTE_ADDR="10.0.0.2")
        codes = [post_claim(who).status_code for who in (one, one, other)]
        assert codes == [201, 429, 201]


class TestImage:
    @pytest.fixture
    def url(self, client: Client, filled: Pool) -> str:
        return urlsplit(post_claim(client).json()["image"]).path

    @pytest.mark.parametrize(
        ("query", "size", "kind"),
        [
            ("", 512, "png"),
            ("?size=32", 32, "png"),
            ("?size=100&format=webp", 100, "webp"),
            ("?format=webp", 512, "webp"),
        ],
    )
    def test_sizes_and_formats(
        self, client: Client, url: str, query: str, size: int, kind: str
    ) -> None:
        response = client.get(url + query)
        assert response.status_code == 200
        assert response["Content-Type"] == f"image/{kind}"
        assert response["X-Content-Type-Options"] == "nosniff"
        assert Image.open(io.BytesIO(response.content)).size == (size, size)

    def test_it_may_be_kept_for_ever(self, client: Client, url: str) -> None:
        first = client.get(url)
        assert "immutable" in first["Cache-Control"] and "public" in first["Cache-Control"]
        assert "Cookie" not in first.get("Vary", "")
        etag = first["ETag"]
        assert not etag.startswith("W/")
        again = client.get(url, headers={"If-None-Match": etag})
        assert again.status_code == 304 and not again.content
        assert again["ETag"] == etag and "immutable" in again["Cache-Control"]
        smaller = client.get(url + "?size=64", headers={"If-None-Match": etag})
        assert smaller.status_code == 200 and smaller["ETag"] != etag

    @pytest.mark.parametrize("accept", ["image/webp,image/*", "text/html", "*/*"])
    def test_any_accept_header_will_do(self, client: Client, url: str, accept: str) -> None:
        assert client.get(url, headers={"Accept": accept}).status_code == 200

    @pytest.mark.parametrize("size", ["31", "513", "-1", "big", "1e9"])
    def test_a_size_out_of_range(self, client: Client, url: str, size: str) -> None:
        problem = problem_of(client.get(url, {"size": size}), 400, "bad_size")
        assert problem["errors"][0]["field"] == "size"

    def test_an_unknown_format(self, client: Client, url: str) -> None:
        problem = problem_of(client.get(url, {"format": "gif"}), 400, "bad_format")
        assert problem["errors"][0]["accepted"] == ["png", "webp"]


def test_what_is_still_in_the_buffer_is_nobodys_to_see(client: Client, filled: Pool) -> None:
    avatar = Avatar.objects.first()
    assert avatar is not None
    for path in (f"/api/v1/avatars/{avatar.pk}/", f"/api/v1/avatars/{avatar.pk}/image"):
        problem_of(client.get(path), 404, "not_found")
        problem_of(client.get(path.replace(str(avatar.pk), str(uuid.uuid4()))), 404, "not_found")


def test_empty_with_a_worker_202(client: Client, pool: Pool, worker: Worker) -> None:
    assert post_claim(client).status_code == 202
