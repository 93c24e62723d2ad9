"""Taking in delivered batches, against the bare loop that does the pictures and nothing else."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from tests.bench.pictures import hang
from tests.bench.processes import Talker, manage
from tests.bench.rows import Bar, Row, Size, by_turns
from tests.bench.service import environment, postgresql, valkey

BATCH = 32


def run(folder: Path, size: Size) -> list[Row]:
    batch, repeats = size(BATCH, 4), size(7, 2)
    samples = folder / "samples"
    hang(samples, batch * (repeats + 1))
    with postgresql(folder / "postgresql") as database, valkey(folder / "valkey") as broker:
        env = environment(folder / "home", database, broker)  # which takes the receipts
        manage(env, "migrate", "--verbosity", "0")
        with Talker(env, "time_ingest", str(samples)) as taker:

            def turn(how: str) -> float:
                return float(taker.ask(how=how, count=batch)["seconds"]) / batch

            turn("ingest"), turn("loop")
            ours, reference = by_turns(repeats, lambda: turn("ingest"), lambda: turn("loop"))
    return [
        Row(
            "ingest (digest, verify, decode, re-encode, move, insert), batches of "
            f"{batch}, PostgreSQL; against Pillow's verify, decode and re-encode alone",
            1 / median(ours),
            1 / median(reference),
            "images/s",
            Bar("≥", 0.8),
        )
    ]
