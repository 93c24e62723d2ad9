"""A second release from its preview to visitors and back, with a real worker drawing both."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.house import House
from tests.integration.test_previews import load, state


def offered(house: House, slug: str) -> dict[str, int]:
    """How many images of each release the pool hands out."""
    rows = house.rows(
        "SELECT r.digest, count(*) FROM buffer_avatar a JOIN buffer_pool p ON p.id = a.pool_id "
        "JOIN registry_release r ON r.id = a.release_id "
        "WHERE p.slug = ? AND a.state = 'available' GROUP BY r.digest",
        slug,
    )
    return dict(rows)


def test_previewed_tried_activated_and_rolled_back(house: House, bundle: Path, tmp_path: Path):
    house.open_pool("turning", bundle, images=6, batch_size=3)
    house.wait("6 avatars", lambda: house.available("turning") == 6, 90)
    ((first, _),) = offered(house, "turning").items()
    second = load(house, bundle, tmp_path / "second")
    house.manage("preview_release", second)
    assert state(house, second) == "previewed"

    # As a canary on nearly all orders, once there is something to order.
    house.manage("set_canary", "turning", second, "--share", "99")
    house.manage("load_release", str(bundle), "--pool", "turning", "--low", "9", "--high", "9")
    house.wait("canary's images", lambda: offered(house, "turning").get(second, 0) >= 3, 90)
    assert offered(house, "turning")[first] == 6

    house.manage("set_canary", "turning", "--promote", "--old-stock", "discard")
    assert set(offered(house, "turning")) == {second}
    house.wait("9 new ones", lambda: house.available("turning") >= 9, 90)
    assert set(offered(house, "turning")) == {second}
    assert (state(house, first), state(house, second)) == ("retired", "active")

    house.manage("rollback_pool", "turning")
    assert offered(house, "turning")[first] >= 6  # what was discarded is back
    house.wait("9 of the first", lambda: house.available("turning") >= 9, 90)
    assert set(offered(house, "turning")) == {first}
    assert (state(house, first), state(house, second)) == ("active", "retired")
    acts = house.rows("SELECT act, actor, details FROM accounts_auditentry ORDER BY id")
    told = [(act, actor) for act, actor, _ in acts if act.startswith("pool.")]
    assert told[-4:] == [
        ("pool.canary_started", "command line"),
        ("pool.edited", "command line"),
        ("pool.canary_promoted", "command line"),
        ("pool.rolled_back", "command line"),
    ]
    images = json.loads(acts[-1][2])["images"]
    assert images["discarded"] >= 9 and images["brought_back"] == 6
