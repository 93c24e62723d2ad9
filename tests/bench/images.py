"""Pictures that the server decides on and nginx sends, against nginx sending them unasked.

The first look at each goes by way of the server and `X-Accel-Redirect`; from then on nginx finds it
by the name that the server has given it (`webgui.buffer.shown`), as it does for visitors.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from tests.bench.load import Load, Visit, press, request
from tests.bench.pictures import hang
from tests.bench.processes import manage
from tests.bench.rows import Bar, Row, Size, by_turns
from tests.bench.service import Web, serving
from tests.deploy.processes import DEPLOY, clean_env, free_port, listens, public_folder, running

CLIENTS = 16
STATIC = """
server {{
    listen 127.0.0.1:{port};
    location /static/ {{ alias {folder}/; open_file_cache max=10000 inactive=60s; }}
}}
"""


def run(folder: Path, size: Size) -> list[Row]:
    many, visits, repeats = size(1000, 20), size(4000, 40), size(7, 2)
    with public_folder() as home, served(home, many) as (web, front, static):
        files = sorted((web.home / "media").rglob("*.png"))
        claimed = manage(web.env, "claim_all").split()
        ours, reference = by_turns(
            repeats,
            lambda: press(front, looking([f"/api/v1/avatars/{a}/image" for a in claimed]),
                          CLIENTS, visits),
            lambda: press(static, looking([f"/static/{path.relative_to(web.home / 'media')}"
                                           for path in files]), CLIENTS, visits),
        )  # fmt: skip
    return [
        Row(
            f"image bytes through X-Accel-Redirect, {many:,} avatars, {CLIENTS} clients; "
            "against the same files served statically",
            median(_megabytes(load) for load in ours),
            median(_megabytes(load) for load in reference),
            "MB/s",
            Bar("≥", 0.85),
        )
    ]


def _megabytes(load: Load) -> float:
    return load.bytes / load.seconds / 1e6


def looking(paths: list[str]) -> Callable[[], Visit]:
    """Visits to one of these pictures each, at random."""
    chance = random.Random(0)

    def visit() -> Visit:
        status, body = yield request("GET", chance.choice(paths))
        assert status == 200 and body[:4] == b"\x89PNG", (status, body[:300])

    return visit


@contextlib.contextmanager
def served(home: Path, many: int) -> Iterator[tuple[Web, int, int]]:
    """The service behind nginx with so many avatars; its port, and that of the plain one."""
    with serving(home, X_ACCEL="1", NUM_PROXIES="1") as web:
        samples = home / "samples"
        hang(samples, min(many, 64))
        manage(web.env, "stock", str(many), "--pictures", str(samples))
        _open_up(home)
        with front(home / "nginx", web) as (port, static):
            yield web, port, static


@contextlib.contextmanager
def front(folder: Path, web: Web) -> Iterator[tuple[int, int]]:
    """nginx with the configuration that we ship and without its limits, and beside it, in the
    same processes, a server that only knows files."""
    port, static = free_port(), free_port()
    env = clean_env() | {
        "RUN": str(folder),
        "WEB": f"127.0.0.1:{web.port}",
        "HTTP_PORT": str(port),
        "MEDIA": str(web.home / "media"),
        "CACHE": str(web.home / "cache" / "images"),
        "TLS_CERTIFICATE": str(folder / "none"),
        "REQUESTS_PER_SECOND": "1000000", "REQUESTS_BURST": "1000000",
        "CLAIMS_PER_SECOND": "1000000", "CLAIMS_BURST": "1000000",
    }  # fmt: skip
    folder.mkdir()
    extra = folder / "start.sh"
    media = web.home / "media"
    # The shipped script fills in the shipped files; the plain server is added to what it wrote.
    text = (DEPLOY / "nginx" / "start.sh").read_text()
    text = text.replace('$(dirname "$(readlink -f "$0")")', f'"{DEPLOY / "nginx"}"')
    plain = STATIC.format(port=static, folder=media)
    extra.write_text(
        text.replace("exec nginx", f"cat >>\"$RUN/server.conf\" <<'END'\n{plain}END\nexec nginx")
    )
    with running(["sh", extra], env, folder / "log", lambda: listens(port) and listens(static)):
        yield port, static


def _open_up(home: Path) -> None:
    """nginx's own user may read what root has put here."""
    for path in (home / "home", *(home / "home").rglob("*")):
        if path.name != "secret_key":
            path.chmod(0o755 if path.is_dir() else 0o644)
