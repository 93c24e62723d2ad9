"""A claim from a very full buffer, against one from a small buffer: each its own database."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from statistics import median

from tests.bench.processes import Talker, manage
from tests.bench.rows import Bar, Row, Size, by_turns
from tests.bench.service import environment, postgresql

WISHES: dict[str, list[str]] = {
    "any": [],
    "a common tag": ["short hair"],
    "a rare tag": ["goatee"],
    "two tags": ["black hair", "smiling"],
    "three tags": ["happy brows", "shirt", "smiling"],
}


def run(folder: Path, size: Size) -> list[Row]:
    large, small = size(1_000_000, 3000), size(1000, 1000)
    times, repeats = size(200, 5), size(7, 2)
    with ExitStack() as stack:
        database = stack.enter_context(postgresql(folder / "postgresql"))
        full, scant = (_claimer(stack, folder, database, count) for count in (large, small))
        rows = []
        for wish, tags in WISHES.items():

            def turn(claimer: Talker, tags: list[str] = tags) -> tuple[float, list[str]]:
                answer = claimer.ask(tags=tags, times=times)
                return 1000 * median(answer["seconds"]), answer["scans"]

            turn(full), turn(scant)
            ours, reference = by_turns(repeats, lambda: turn(full), lambda: turn(scant))
            scans = {step for _, found in ours for step in found}
            rows.append(
                Row(
                    f"claim ({wish}) at {large:,} available, against {small:,}",
                    median(ms for ms, _ in ours),
                    median(ms for ms, _ in reference),
                    "ms",
                    Bar("≤", 1.3),
                    sound=not scans,
                    notes=[f"plan: {step}" for step in sorted(scans)],
                )
            )
        return rows


def _claimer(stack: ExitStack, folder: Path, server: str, count: int) -> Talker:
    name = f"stock_{count}"
    env = environment(folder / name, _create(server, name))
    manage(env, "migrate", "--verbosity", "0")
    manage(env, "stock", str(count))
    return stack.enter_context(Talker(env, "time_claims"))


def _create(server: str, name: str) -> str:
    """A new database of the server; its address."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    # By text: urlunsplit leaves out the empty host of an address that is a socket's.
    return server.replace("/postgres?", f"/{name}?", 1)
