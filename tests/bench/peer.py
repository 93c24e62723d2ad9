"""Handing out avatars made ahead, against drawing one for each request as DiceBear's API does."""

from __future__ import annotations

import json
import os
import shutil
from itertools import count
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from tests.bench.images import served
from tests.bench.load import Visit, press, request
from tests.bench.processes import run as run_to_end
from tests.bench.rows import Bar, Row, Size, by_turns
from tests.deploy.processes import clean_env, free_port, listens, public_folder, running

CLIENTS = 16
SOURCE = Path(__file__).parent / "dicebear"


def run(folder: Path, size: Size) -> list[Row]:
    visits, drawn, repeats = size(1000, 20), size(150, 6), size(5, 2)
    cores = len(os.sched_getaffinity(0))
    peer, port = folder / "peer", free_port()
    shutil.copytree(SOURCE, peer)
    run_to_end(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=peer)
    command = ["node", "server.js", str(port), str(cores)]
    with (
        public_folder() as home,
        served(home, visits * (repeats + 1)) as (_, front, _static),
        running(command, clean_env(), folder / "peer.log", lambda: listens(port), cwd=peer),
    ):
        press(front, claim_and_look, CLIENTS, visits)
        press(port, draw, CLIENTS, drawn)
        ours, reference = by_turns(
            repeats,
            lambda: press(front, claim_and_look, CLIENTS, visits),
            lambda: press(port, draw, CLIENTS, drawn),
        )
    return [
        Row(
            f"an avatar and its 512 px image (claim, then picture), {CLIENTS} clients; against "
            f"@dicebear/core and @resvg/resvg-js drawing it, {cores} Node processes",
            median(load.rate for load in ours),
            median(load.rate for load in reference),
            "avatars/s",
            Bar("≥", 10),
        )
    ]


def claim_and_look() -> Visit:
    status, body = yield request("POST", "/api/v1/avatars/", b'{"pool": "toon"}')
    assert status == 201, (status, body[:300])
    status, body = yield request("GET", urlsplit(json.loads(body)["image"]).path)
    assert status == 200 and body[:4] == b"\x89PNG", (status, body[:300])


_seeds = count()


def draw() -> Visit:
    status, body = yield request("GET", f"/?seed={next(_seeds)}")
    assert status == 200 and body[:4] == b"\x89PNG", (status, body[:300])
