"""Claims and ingest, without a pause, in a process of their own: `python -m …traffic FILE STOP`.

Writes a line for each claim that was answered, before and after which time stands.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def run(out: Path, stop: Path) -> None:
    import django

    django.setup()
    from tests.webgui.making import deliver, make_batch
    from webgui.buffer.claim import claim
    from webgui.buffer.ingest import ingest
    from webgui.buffer.models import Pool

    pool = Pool.objects.select_related("release").get()
    turn = 0
    with out.open("w", buffering=1) as lines:
        while not stop.exists():
            turn += 1
            if turn % 4 == 0:
                batch = make_batch(pool, count=6, base_seed=turn * 1000)
                deliver(batch)
                ingest(batch.pk)
            avatar = claim("toon", client="visitor:busy").avatar
            if avatar is not None:
                lines.write(f"{avatar.pk} {time.time()}\n")
            time.sleep(0.05)


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]))
