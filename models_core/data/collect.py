"""Stage 1, collect: every picture the sources have, decoded, described and without duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_core.data.duplicates import look_of, near_duplicates
from models_core.data.picture import Skip, png_bytes
from models_core.data.recipe import Recipe
from models_core.data.sheets import Tile, save_sheet, spread
from models_core.data.sources import Source
from models_core.data.stage import Dropped, Item, Outcome, Progress, Record, Stage, save
from models_core.data.workers import Workers

QUICK = 1  # zlib's level for pictures that only the next stages read


@dataclass(frozen=True)
class Fetch:
    """The work on one entry, in whatever process."""

    folder: Path
    sources: tuple[Source, ...]
    image_size: int
    min_side: int
    compares: bool

    def __call__(self, payload: dict[str, Any]) -> Outcome:
        source = self.sources[payload["source number"]]
        try:
            found = source.fetch(payload, self.image_size, self.min_side)
        except Skip as reason:
            return Outcome(reason=str(reason))
        # Two sources may know a post of the same id, one of them a smaller picture of it.
        file = f"images/{payload['source number']}/{found.id}.png"
        files = save(self.folder, file, png_bytes(found.image, QUICK))
        record: Record = {
            "id": found.id,
            "tags": found.tags,
            "source": found.source,
            "licence": found.licence,
            "flip": source.flip,
            "file": f"collect/{file}",
            "sha256": files[file],
            "width": found.image.width,
            "height": found.image.height,
        }
        if found.caption:
            record["caption"] = found.caption
        if found.crop:
            record["crop"] = list(found.crop)
        if self.compares and not source.drawn:
            record["look"] = look_of(found.image)
        return Outcome(record, files=files)


def collect(
    recipe: Recipe, out: Path, workers: Workers, progress: Progress | None = None
) -> list[Record]:
    """Run the stage; the records it hands on."""
    settings = recipe.settings.collect
    # How many are wanted does not change any of them.
    unlimited = [source.limited(0) for source in recipe.sources]
    names = [(recipe.own_name(s, recipe.name), recipe.own_name(s, recipe.seed)) for s in unlimited]
    compares = settings.near_duplicates > 0
    stage = Stage(
        out,
        "collect",
        [recipe.image_size, settings.min_side, compares, names, unlimited],
        decision=settings,
    )
    items = list(_items(recipe))
    if (records := stage.finished(items)) is not None:
        return records
    fetch = Fetch(stage.folder, recipe.sources, recipe.image_size, settings.min_side, compares)
    outcomes = stage.run(items, fetch, workers, progress)
    kept, dropped, twins = _without_duplicates(items, outcomes, settings.near_duplicates)
    stages = stage.folder.parent
    shown = spread([Tile(stages / record["file"]) for record in kept])
    save_sheet(stage.folder / "sheet.jpg", [(f"{len(kept)} collected", shown)])
    pairs = [Tile(stages / record["file"]) for pair in twins[:30] for record in pair]
    caption = f"{len(twins)} near-duplicates, each before the one kept"
    save_sheet(stage.folder / "dropped.jpg", [(caption, pairs)])
    stage.finish(items, kept, dropped)
    return kept


def _items(recipe: Recipe) -> Iterator[Item]:
    for number, source in enumerate(recipe.sources):
        name, seed = recipe.own_name(source, recipe.name), recipe.own_name(source, recipe.seed)
        for key, payload in source.entries(name, seed):
            about = str(payload.get("file") or payload.get("id"))
            yield Item(key, {**payload, "source number": number, "about": about})


Twins = list[tuple[Record, Record]]


def _without_duplicates(
    items: list[Item], outcomes: list[Outcome], distance: float
) -> tuple[list[Record], list[Dropped], Twins]:
    """What goes on, what does not, and the near-duplicates with what they nearly repeat."""
    dropped: list[Dropped] = []
    unique: list[Record] = []
    seen: set[str] = set()
    ids: set[str] = set()
    for item, outcome in zip(items, outcomes, strict=True):
        about = {"about": item.payload["about"]}
        if outcome.record is None:
            dropped.append(Dropped(about, outcome.reason))
        elif outcome.record["sha256"] in seen:
            dropped.append(Dropped({"id": outcome.record["id"], **about}, "exact duplicate"))
        elif outcome.record["id"] in ids:
            dropped.append(Dropped({"id": outcome.record["id"], **about}, "same id as another"))
        else:
            seen.add(outcome.record["sha256"])
            ids.add(outcome.record["id"])
            unique.append(outcome.record)
    compared = [i for i, record in enumerate(unique) if "look" in record]
    looks = [unique[i]["look"] for i in compared]
    sizes = [unique[i]["width"] * unique[i]["height"] for i in compared]
    near = near_duplicates(looks, distance, sizes)
    # Looks have served their purpose.
    plain = [{key: value for key, value in r.items() if key != "look"} for r in unique]
    twins = {compared[a]: (plain[compared[a]], plain[compared[b]]) for a, b in near.items()}
    dropped += [Dropped({**a, "like": b["id"]}, "near-duplicate") for a, b in twins.values()]
    return [r for i, r in enumerate(plain) if i not in twins], dropped, list(twins.values())
