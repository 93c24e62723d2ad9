"""The booth as the server renders it, and its form posted without JavaScript."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from tests.webgui.making import make_pool, make_release, release_manifest, stock
from webgui.accounts.visitor import COOKIE
from webgui.buffer.models import Avatar, Pool, Ticket
from webgui.fleet.models import Worker

pytestmark = pytest.mark.django_db


def test_idle_page_invites_one_click(client: Client, pool: Pool) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assertContains(page, "Generate avatar")
    assertContains(page, 'data-state="idle"')
    assertContains(page, 'data-claim="/api/v1/avatars/"')
    assert page["Cache-Control"] == "private, no-store" or "no-store" in page["Cache-Control"]


def test_page_has_no_inline_script_style_or_foreign_address(client: Client, pool: Pool) -> None:
    page = client.get("/")
    html = page.content.decode()
    assert " style=" not in html and "<style" not in html and " onclick=" not in html
    assert "http://" not in html.replace("http://testserver", "")
    assert "https://" not in html
    policy = page["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe-inline" not in policy


def test_traits_of_the_release_are_offered(client: Client, pool: Pool) -> None:
    page = client.get("/")
    assertContains(page, '<select name="tag.toon.hair colour"', count=1)
    assertContains(page, "<option>pink hair</option>", count=1, html=True)


def test_pool_without_tags_offers_none(client: Client, pool: Pool) -> None:
    pool.release.manifest = release_manifest(tags={})
    pool.release.save()
    assertNotContains(client.get("/"), "Choose traits")


def test_what_the_release_never_draws_together_is_told_to_the_script(
    client: Client, pool: Pool
) -> None:
    rule = {"when": {"mouth": ["smiling"]}, "then": {"hair colour": ["pink hair"]}}
    pool.release.manifest = release_manifest(params={"rules": [rule, {"when": "?"}]})
    pool.release.save()
    fields = {
        "when": ["tag.toon.mouth", ["smiling"]],
        "then": ["tag.toon.hair colour", ["pink hair"]],
    }
    assert client.get("/").context["rules"] == {"toon": [fields]}


def test_one_pool_needs_no_chooser_two_do(client: Client, pool: Pool) -> None:
    assertNotContains(client.get("/"), 'type="radio"')
    make_pool("pixel")
    page = client.get("/")
    assertContains(page, 'type="radio"', count=2)
    assertContains(page, 'id="pool-toon" value="toon" checked', count=1)


def test_without_any_pool_the_page_still_opens(client: Client) -> None:
    assertContains(client.get("/"), "Generate avatar")
    assertContains(client.post("/"), "The booth is not set up yet", status_code=503)


def test_post_claims_for_this_visitor_and_redirects(client: Client, pool: Pool) -> None:
    stock(pool, 3)
    client.get("/")
    answer = client.post("/", {"pool": "toon"})
    mine = Avatar.objects.get(state=Avatar.State.CLAIMED)
    assertRedirects(answer, f"/avatars/{mine.pk}/")
    strip = client.get("/").context["strip"]
    assert [portrait.id for portrait in strip] == [str(mine.pk)]
    assert Client().get("/").context["strip"] == []


def test_first_post_without_a_cookie_makes_the_visitor_known(client: Client, pool: Pool) -> None:
    stock(pool, 1)
    client.post("/", {"pool": "toon"})
    assert COOKIE in client.cookies
    assert len(client.get("/").context["strip"]) == 1


def test_post_honours_the_traits_of_the_chosen_pool_only(client: Client, pool: Pool) -> None:
    make_pool("pixel")
    stock(pool, 5, ("black hair",))
    stock(pool, 1, ("pink hair", "smiling"))
    client.post(
        "/",
        {
            "pool": "toon",
            "tag.toon.hair colour": "pink hair",
            "tag.toon.mouth": "",
            "tag.pixel.hair colour": "black hair",
        },
    )
    assert Avatar.objects.get(state=Avatar.State.CLAIMED).tags == ["pink hair", "smiling"]


def test_pool_whose_name_begins_like_another_is_not_mixed_up(client: Client, pool: Pool) -> None:
    longer = make_pool("toon-two")
    stock(longer, 1, ("black hair",))
    stock(pool, 1, ("pink hair",))
    client.post("/", {"pool": "toon-two", "tag.toon.hair colour": "pink hair"})
    assert Avatar.objects.get(state=Avatar.State.CLAIMED).pool == longer


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"pool": "nope"}, "There is no pool &#x27;nope&#x27;"),
        ({"pool": "toon", "tag.toon.mouth": "yawning"}, "has no tag &#x27;yawning&#x27;"),
    ],
)
def test_nonsense_is_refused_in_words_and_changes_nothing(
    client: Client, pool: Pool, form: dict[str, str], words: str
) -> None:
    stock(pool, 1)
    assertContains(client.post("/", form), words, status_code=400)
    assert not Avatar.objects.filter(state=Avatar.State.CLAIMED).exists()


def test_empty_buffer_with_a_worker_gives_a_ticket(
    client: Client, pool: Pool, worker: Worker
) -> None:
    answer = client.post("/", {"pool": "toon"})
    ticket = Ticket.objects.get()
    assertRedirects(answer, f"/tickets/{ticket.pk}/")


def test_empty_buffer_without_a_worker_says_what_to_do(client: Client, pool: Pool) -> None:
    form = {"pool": "toon", "tag.toon.mouth": "smiling"}
    page = client.post("/", form)
    assertContains(page, "Nobody is drawing right now", status_code=503)
    assertContains(page, "Try again in 30 seconds.", status_code=503)
    assertContains(page, "<option selected>smiling</option>", html=True, status_code=503)
    assert page["Retry-After"] == "30"


def test_paused_pool_says_so(client: Client, pool: Pool) -> None:
    Pool.objects.update(paused=True)
    assertContains(client.post("/"), "This style is paused", status_code=503)


def test_too_many_posts_are_throttled(client: Client, pool: Pool, settings) -> None:
    settings.CLAIMS_PER_MINUTE = 1
    stock(pool, 2)
    assert client.post("/").status_code == 302
    page = client.post("/")
    assertContains(page, "That was quick", status_code=429)
    assert 1 <= int(page["Retry-After"]) <= 60
    assertContains(page, "Try again in ", status_code=429)
    assert Avatar.objects.filter(state=Avatar.State.CLAIMED).count() == 1


def test_form_of_another_site_is_refused_in_words(pool: Pool) -> None:
    stock(pool, 1)
    page = Client(enforce_csrf_checks=True).post("/", {"pool": "toon"})
    assertContains(page, "That form was too old.", status_code=403)
    assert not Avatar.objects.filter(state=Avatar.State.CLAIMED).exists()


def test_other_methods_are_refused(client: Client, pool: Pool) -> None:
    assert client.put("/").status_code == 405
    assert client.delete("/").status_code == 405


def test_page_needs_few_queries_however_many_pools(
    client: Client, pool: Pool, django_assert_max_num_queries
) -> None:
    release = make_release("many")
    for number in range(8):
        make_pool(f"pool-{number}", release=release)
    with django_assert_max_num_queries(3):
        client.get("/")
