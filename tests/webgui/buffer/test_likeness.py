"""Near-duplicates are found across batches and after a claim, whoever drew them, at a flat cost."""

from __future__ import annotations

import io
import random

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from PIL import Image, ImageChops, ImageDraw

from tests.webgui.making import deliver, make_batch, make_pool, make_release, stock
from webgui.buffer import likeness
from webgui.buffer.activation import activate
from webgui.buffer.claim import claim
from webgui.buffer.ingest import Outcome, ingest
from webgui.buffer.models import Avatar, Look, LookKey, OldStock, Pool
from webgui.buffer.retention import prune
from webgui.fleet.models import Worker


def face(seed: int, size: int = 512) -> Image.Image:
    """Aligned heads that differ as avatars do: hair, skin, mouth, eyes, clothes, background."""
    chance = random.Random(seed)

    def colour() -> tuple[int, ...]:
        return tuple(chance.randrange(256) for _ in range(3))

    image = Image.new("RGB", (512, 512), colour())
    draw = ImageDraw.Draw(image)
    draw.ellipse((110, 50, 402, 400), fill=colour())
    draw.ellipse((146, 120, 366, 390), fill=colour())
    draw.ellipse((60, 410, 452, 800), fill=colour())
    for x in (205, 307):
        draw.ellipse((x - 25, 225, x + 25, 275), fill=colour())
    draw.rectangle((206, 310, 306, 330 + chance.randrange(30)), fill=colour())
    return image.resize((size, size))


def noisy(image: Image.Image, seed: int, reach: int = 12) -> Image.Image:
    """The same picture with grain."""
    grain = Image.frombytes("L", image.size, random.Random(seed).randbytes(512 * 512))
    grain = grain.point(lambda level: level * reach // 255)
    return ImageChops.add(image, Image.merge("RGB", [grain] * 3), offset=-reach // 2)


def brighter(image: Image.Image) -> Image.Image:
    return image.point(lambda level: min(255, level + 4))


def smiling(image: Image.Image) -> Image.Image:
    """Another mouth only."""
    other = image.copy()
    ImageDraw.Draw(other).rectangle((190, 305, 322, 365), fill=(255, 255, 255))
    return other


def png(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def bring(pool: Pool, *images: Image.Image) -> int:
    """Deliver and take in one batch of these; how many of them were new."""
    batch = make_batch(pool, count=len(images))
    deliver(batch, files={f"{n}.png": png(image) for n, image in enumerate(images)})
    assert ingest(batch.pk) == Outcome.INGESTED
    batch.refresh_from_db()
    return batch.ingested_count


@pytest.mark.parametrize("change", [noisy, brighter], ids=["grain", "brightness"])
def test_a_near_copy_of_another_batchs_is_left_out(pool: Pool, change) -> None:
    first = face(1)
    assert bring(pool, first, face(2)) == 2
    copy = change(first, 7) if change is noisy else change(first)
    assert png(copy) != png(first)
    assert bring(pool, copy, face(3)) == 1
    assert Avatar.objects.count() == Look.objects.count() == 3


def test_what_looks_different_stays(pool: Pool) -> None:
    assert bring(pool, face(1)) == 1
    assert bring(pool, smiling(face(1))) == 1
    assert bring(pool, *[face(seed) for seed in range(10, 40)]) == 30


def test_within_a_batch_no_worker_is_taken_at_its_word(pool: Pool) -> None:
    assert bring(pool, face(1), noisy(face(1), 3), noisy(face(1), 4)) == 1


def test_a_claimed_avatar_is_not_drawn_again_for_another(pool: Pool) -> None:
    bring(pool, face(1))
    assert claim(client="visitor:a").avatar is not None
    assert bring(pool, noisy(face(1), 3)) == 0
    pool.refresh_from_db()
    assert "brought no new image" in pool.trouble


def test_each_pool_is_for_itself(pool: Pool) -> None:
    bring(pool, face(1))
    assert bring(make_pool("other"), noisy(face(1), 3)) == 1


def test_a_release_may_ask_for_more_or_less(db: None, home: object) -> None:
    lax = make_pool("lax", make_release("lax", params={"min_distance": 0}))
    assert bring(lax, face(1), noisy(face(1), 3)) == 2
    strict = make_pool("strict", make_release("strict", params={"min_distance": 200}))
    assert bring(strict, face(1), smiling(face(1))) == 1
    assert likeness.distance_of({"min_distance": "far"}) == likeness.distance_of({}) == 12


def test_who_waits_is_served_with_the_new_one_only(pool: Pool, worker: Worker) -> None:
    bring(pool, face(1))
    claim(client="visitor:a")
    ticket = claim(client="visitor:b").ticket
    assert ticket is not None
    bring(pool, noisy(face(1), 3))
    ticket.refresh_from_db()
    assert ticket.avatar is None
    bring(pool, noisy(face(1), 4), face(2))
    ticket.refresh_from_db()
    assert ticket.avatar is not None


def test_looks_go_with_their_avatars(pool: Pool) -> None:
    bring(pool, face(1), face(2))
    claim(client="visitor:a")
    activate(pool, make_release("next"), "tests", OldStock.DISCARD)
    prune(all_discarded=True)
    assert Avatar.objects.count() == Look.objects.count() == 1
    assert LookKey.objects.count() == likeness.KEYS


def test_nearly_all_near_copies_share_a_key_and_few_others_do() -> None:
    looks = [likeness.look_of(face(seed)) for seed in range(150)]
    keys = [set(likeness.keys_of(look)) for look in looks]
    copies = [set(likeness.keys_of(likeness.look_of(noisy(face(s), s)))) for s in range(60)]
    assert sum(bool(own & copy) for own, copy in zip(keys, copies, strict=False)) >= 57
    pairs = [(a, b) for a in range(150) for b in range(a)]
    assert sum(bool(keys[a] & keys[b]) for a, b in pairs) < len(pairs) / 100


def test_the_cost_is_bounded_though_many_share_a_key(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All alike to their keys: no more than the newest few are compared, found by the index."""
    looks = {avatar: bytes(768) for avatar in stock(pool, 1000)}
    likeness.remember(pool, looks)
    compared = []
    monkeypatch.setattr(likeness, "alike", lambda one, other, distance: compared.append(other))
    image = Image.new("RGB", (512, 512))
    with CaptureQueriesContext(connection) as asked:
        bring(pool, image)
    assert 0 < len(compared) <= likeness.KEYS * likeness.NEWEST
    looked_up = [query["sql"] for query in asked if query["sql"].startswith("SELECT")]
    looked_up = [sql for sql in looked_up if "buffer_lookkey" in sql]
    assert len(looked_up) == likeness.KEYS
    with connection.cursor() as cursor:
        for sql in looked_up:
            cursor.execute(f"EXPLAIN {'QUERY PLAN' * (connection.vendor == 'sqlite')} {sql}")
            steps = str(cursor.fetchall()).upper()
            assert "SEQ SCAN ON BUFFER_LOOKKEY" not in steps
            assert "SORT" not in steps and "TEMP B-TREE" not in steps
