"""The judge after each fault, as a queue checker is one: made, told and served add up."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.rig import Rig

SETTLED = {"ingested", "quarantined"}


@dataclass(frozen=True)
class Totals:
    """Images so far."""

    generated: int = 0
    delivered: int = 0
    ingested: int = 0

    def since(self, before: Totals) -> Totals:
        return Totals(
            self.generated - before.generated,
            self.delivered - before.delivered,
            self.ingested - before.ingested,
        )


@dataclass
class Verdict:
    totals: Totals
    lost: int = 0
    doubled: int = 0
    complaints: list[str] = field(default_factory=list)

    def lose(self, count: int, what: str) -> None:
        if count:
            self.lost += count
            self.complaints.append(f"lost {count}: {what}")

    def double(self, count: int, what: str) -> None:
        if count:
            self.doubled += count
            self.complaints.append(f"doubled {count}: {what}")


class Checker:
    """Judges all that ever happened in the house each time, so that nothing slips between two."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.served: list[str] = []
        self.decoy = ""
        self._sound: set[str] = set()

    def judge(self) -> Verdict:
        rows = self._rig.clerk("avatars")
        batches = {batch["id"]: batch for batch in self._rig.clerk("batches")}
        verdict = Verdict(self._totals(rows, batches))
        self._served_once(verdict, {row[0]: row[4] for row in rows})
        self._receipted_is_kept(verdict, rows, batches)
        self._no_doubles(verdict, rows)
        self._files_are_sound(verdict, rows)
        self._only_what_was_published(verdict, rows)
        return verdict

    def _totals(self, rows: list, batches: dict[str, dict]) -> Totals:
        made, arrived = self._rig.ledger.made, self._rig.ledger.arrived
        settled = {key for key, batch in batches.items() if batch["state"] in SETTLED}
        delivered = [made[key] for key in (arrived | settled) & set(made)]
        return Totals(
            generated=sum(len(batch.seeds) for batch in made.values()),
            delivered=sum(len(batch.seeds) for batch in delivered),
            ingested=len(rows),
        )

    def _served_once(self, verdict: Verdict, states: dict[str, str]) -> None:
        verdict.double(_surplus(self.served), "served twice")
        unclaimed = [avatar for avatar in set(self.served) if states.get(avatar) != "claimed"]
        verdict.lose(len(unclaimed), "served, and not claimed in the database")
        claimed = {avatar for avatar, state in states.items() if state == "claimed"}
        verdict.lose(len(claimed - set(self.served)), "claimed, and nobody was told")

    def _receipted_is_kept(self, verdict: Verdict, rows: list, batches: dict[str, dict]) -> None:
        """What a worker has a receipt for, it has forgotten: it must be in the buffer (or served,
        or retired), or lie in quarantine."""
        kept = {(batch, seed) for _, batch, seed, _, _ in rows}
        for key in sorted(self._rig.ledger.receipted()):
            batch, made = batches.get(key), self._rig.ledger.made.get(key)
            if batch is not None and batch["state"] == "quarantined":
                continue
            if made is None:
                verdict.complaints.append(f"batch {key} has a receipt, and nobody saw it made")
                continue
            gone = [seed for seed in made.seeds if (key, seed) not in kept]
            verdict.lose(len(gone), f"of batch {key}, which has a receipt")

    def _no_doubles(self, verdict: Verdict, rows: list) -> None:
        verdict.double(_surplus(digest for _, _, _, digest, _ in rows), "the same image")
        verdict.double(_surplus((batch, seed) for _, batch, seed, _, _ in rows), "the same seed")

    def _files_are_sound(self, verdict: Verdict, rows: list) -> None:
        """A row is worth what its file is."""
        media = self._rig.home / "media" / "avatars"
        for _, _, _, digest, _ in rows:
            if digest not in self._sound and _holds(media, digest):
                self._sound.add(digest)
        bad = [digest for _, _, _, digest, _ in rows if digest not in self._sound]
        verdict.lose(len(bad), "the stored file is missing or damaged")

    def _only_what_was_published(self, verdict: Verdict, rows: list) -> None:
        """The decoy is a perfect batch that an order waits for, and lies in inbox/tmp."""
        if any(batch == self.decoy for _, batch, _, _, _ in rows):
            verdict.complaints.append("a batch was taken in that nobody had renamed into inbox/new")


def _surplus(items: Iterable[object]) -> int:
    return sum(count - 1 for count in Counter(items).values())


def _holds(media: Path, digest: str) -> bool:
    try:
        data = (media / digest[:2] / digest[2:4] / f"{digest}.png").read_bytes()
    except FileNotFoundError:
        return False
    return hashlib.sha256(data).hexdigest() == digest
