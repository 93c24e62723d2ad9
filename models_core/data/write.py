"""Stage 5, write: the Hugging Face *imagefolder* convention, one folder per split.

<out>/train/whole/<id>.png   the whole image
<out>/train/crop/<id>.png    its localized crop, same id
<out>/train/metadata.jsonl   file_name, crop_file_name, id, tags, caption, digests, …
<out>/dataset.json           recipe digest, credits, counts, tag vocabulary with frequencies
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_core.data.picture import write_file
from models_core.data.recipe import Recipe
from models_core.data.sheets import Tile, save_sheet, spread
from models_core.data.stage import Dropped, Progress, Record, Stage, items_of, write_lines
from models_core.data.tags import words_of

SPLITS = (("validation", 0.04), ("test", 0.12))  # the rest is train
SPLIT_NAMES = ("train", *(name for name, _ in SPLITS))
OTHER_WORDS = "tags"  # the group of words that no group of the recipe has
MOST_COMMON = 100  # words that become labels where the recipe names none


def split_of(image_id: str) -> str:
    """The split an id belongs to, decided by its digest alone, so that splits never move."""
    point = int(hashlib.sha256(image_id.encode()).hexdigest()[:8], 16) / 2**32
    for name, share in SPLITS:
        if point < share:
            return name
        point -= share
    return "train"


@dataclass(frozen=True)
class Writer:
    """Both images of a record in their split's folder, and the row about them."""

    out: Path
    groups: Mapping[str, str]  # a word's group

    def row(self, record: Record) -> Record:
        folder = self.out / split_of(record["id"])
        names = {kind: f"{kind}/{record['id']}.png" for kind in ("whole", "crop")}
        for kind, name in names.items():
            origin = self.out / "stages" / record[f"{kind}_file"]
            _place(origin, folder / name, record[f"{kind}_sha256"])
        tags = self._grouped(record["tags"])
        row = {
            "file_name": names["whole"],
            "crop_file_name": names["crop"],
            "id": record["id"],
            "tags": tags,
            "caption": record.get("caption") or ", ".join(words_of(record["tags"])),
            "crop": record["crop"],
            "source": record["source"],
            "licence": record["licence"],
            "sha256": record["whole_sha256"],
            "crop_sha256": record["crop_sha256"],
        }
        if record["flip"]:
            row["flip"] = True
        return row

    def _grouped(self, tags: Mapping[str, str] | Sequence[str]) -> Mapping[str, Any]:
        """A list of words by their groups; a group of several words has a list."""
        if isinstance(tags, Mapping):
            return tags
        found: dict[str, list[str]] = {}
        for tag in dict.fromkeys(tags):
            found.setdefault(self.groups.get(tag, OTHER_WORDS), []).append(tag)
        return {g: w[0] if len(w) == 1 and g != OTHER_WORDS else w for g, w in found.items()}


def _place(origin: Path, target: Path, digest: str) -> None:
    """A second name for the stage's file, or a copy where links are not to be had."""
    if target.exists():
        if hashlib.sha256(target.read_bytes()).hexdigest() == digest:
            return
        target.unlink()
    try:
        os.link(origin, target)
    except OSError:
        write_file(target, origin.read_bytes())


def write(
    recipe: Recipe,
    out: Path,
    records: Sequence[Record],
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run the stage; the data set's summary. Quick, so it is done whole every time."""
    stage = Stage(out, "write", recipe.words)
    folders = [out / split / kind for split in SPLIT_NAMES for kind in ("whole", "crop")]
    for folder in (*folders, stage.folder):
        folder.mkdir(parents=True, exist_ok=True)
    unique, dropped = _without_twins(records)
    items = items_of(unique)
    groups = {word: group for group, words in recipe.vocabulary().items() for word in words}
    writer, rows = Writer(out, groups), []
    for record in unique:
        rows.append(writer.row(record))
        if progress:
            progress("write", len(rows), len(unique))
    by_split: dict[str, list[Record]] = {split: [] for split in SPLIT_NAMES}
    for row in rows:
        by_split[split_of(row["id"])].append(row)
    for split, members in by_split.items():
        write_lines(out / split / "metadata.jsonl", members)
    _remove_strangers(folders, rows)
    summary = _summary(recipe, by_split, len(dropped), _dropped_earlier(out))
    write_file(out / "dataset.json", json.dumps(summary, indent=1, ensure_ascii=False).encode())
    _show(stage, out, by_split)
    stage.finish(items, rows, dropped, counts=summary["counts"])
    return summary


def _summary(
    recipe: Recipe,
    by_split: Mapping[str, Sequence[Record]],
    twins: int,
    earlier: Mapping[str, int],
) -> dict[str, Any]:
    """`dataset.json`."""
    return {
        "name": recipe.name,
        "recipe_sha256": recipe.digest,
        "sources": [source.credit() for source in recipe.sources],
        "counts": {split: len(members) for split, members in by_split.items()},
        "duplicates": twins + sum(n for r, n in earlier.items() if "duplicate" in r),
        "dropped": earlier,
        "tags": _frequencies(recipe, by_split["train"]),
    }


def _without_twins(records: Sequence[Record]) -> tuple[list[Record], list[Dropped]]:
    """What became the same at the recipe's size is kept once."""
    seen: set[str] = set()
    unique: list[Record] = []
    dropped: list[Dropped] = []
    for record in records:
        if record["whole_sha256"] in seen:
            dropped.append(Dropped(record, "exact duplicate"))
        else:
            seen.add(record["whole_sha256"])
            unique.append(record)
    return unique, dropped


def _remove_strangers(folders: Sequence[Path], rows: Sequence[Record]) -> None:
    """Remove what an earlier build left that is not in the set: since pruned, or half-written."""
    known = {f"{row['id']}.png" for row in rows}
    for folder in folders:
        for file in (*folder.glob("*.png"), *folder.glob("*.part")):
            if file.name not in known:
                file.unlink()


def _dropped_earlier(out: Path) -> dict[str, int]:
    """Reasons of all earlier stages with their counts."""
    reasons: Counter[str] = Counter()
    for name in ("collect", "crop", "super-resolve", "prune"):
        summary = json.loads((out / "stages" / name / "summary.json").read_text())
        reasons.update(summary["dropped"])
    return dict(reasons.most_common())


def _frequencies(recipe: Recipe, train: Sequence[Record]) -> dict[str, dict[str, float]]:
    """The vocabulary: every word of the recipe with its share of the training images.

    Words that only the pictures told come after them, the most common first, unless the recipe
    names those it wants.
    """
    counts = Counter(word for row in train for word in words_of(row["tags"]))
    groups = dict(recipe.vocabulary())
    if not recipe.words and not all(source.drawn for source in recipe.sources):
        known = {word for words in groups.values() for word in words}
        told = [word for word, _ in counts.most_common() if word not in known]
        groups[OTHER_WORDS] = told[:MOST_COMMON]
    total = max(len(train), 1)
    return {
        group: {word: round(counts[word] / total, 5) for word in words}
        for group, words in groups.items()
    }


def _show(stage: Stage, out: Path, by_split: Mapping[str, Sequence[Record]]) -> None:
    rows = []
    for split, members in by_split.items():
        wholes = spread([Tile(out / split / row["file_name"]) for row in members], 24)
        crops = spread([Tile(out / split / row["crop_file_name"]) for row in members], 24)
        rows += [(f"{split}: {len(members)}, whole images", wholes), ("their crops", crops)]
    save_sheet(stage.folder / "sheet.jpg", rows)
