"""Stage 4, prune: the minority clusters of a k-means on image features, and unsafe pictures.

In the thesis other artists' styles formed clusters of their own; k = 3 and a look at the clusters
were enough to keep the one wanted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models_core.data import settings
from models_core.data.sheets import Tile, save_sheet, spread
from models_core.data.stage import Dropped, Outcome, Progress, Record, Stage, items_of, save
from models_core.data.workers import Workers

UNSAFE = "unsafe"


@cache
def _extractor() -> Any:
    from models_core.metrics.features import open_extractor

    return open_extractor("efficientnet-lite0")


@cache
def _classifier() -> Any:
    from models_core.safety.classifier import SafetyClassifier

    return SafetyClassifier()


@dataclass(frozen=True)
class Examine:
    """The work on one record: features of its crop, safety of its whole image."""

    stages: Path
    folder: Path
    clusters: bool
    safety: bool

    def __call__(self, record: Record) -> Outcome:
        files: dict[str, str] = {}
        seen: dict[str, Any] = {}
        if self.clusters:
            crop = Image.open(self.stages / record["crop_file"]).convert("RGB")
            features = _extractor()(np.asarray(crop)[None]).numpy()[0]
            with io.BytesIO() as stream:
                np.save(stream, features.astype(np.float32))
                files = save(self.folder, f"features/{record['id']}.npy", stream.getvalue())
        if self.safety:
            whole = Image.open(self.stages / record["whole_file"]).convert("RGB")
            seen["unsafe"] = round(_classifier()([whole])[0], 4)
        return Outcome({**record, **seen}, files=files)


@dataclass(frozen=True)
class Clusters:
    """`of[i]` is picture i's cluster; clusters are numbered from the largest."""

    of: np.ndarray
    distances: np.ndarray
    """[n] from each picture to its cluster's centre."""
    sizes: list[int]


def cluster(features: np.ndarray, k: int, seed: int = 0) -> Clusters:
    """k-means (Lloyd's, the best of ten starts) on features [n, d] of unit length.

    Lengths say how much there is in a picture, directions what, so only these count.
    """
    from sklearn.cluster import KMeans

    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    fitted = KMeans(min(k, len(unit)), n_init=10, random_state=seed).fit(unit)
    counts = np.bincount(fitted.labels_, minlength=fitted.n_clusters)
    order = np.argsort(-counts, kind="stable")
    of = np.argsort(order)[fitted.labels_]
    distances = np.linalg.norm(unit - fitted.cluster_centers_[fitted.labels_], axis=1)
    return Clusters(of, distances, [int(counts[i]) for i in order])


def prune(
    wanted: settings.Prune,
    out: Path,
    records: Sequence[Record],
    workers: Workers,
    progress: Progress | None = None,
) -> list[Record]:
    """Run the stage; the records it hands on."""
    # What is measured is kept whatever is decided on it: thresholds can be tried quickly.
    measures = {"clusters": wanted.clusters > 0, "safety": wanted.unsafe is not None}
    stage = Stage(out, "prune", measures, decision=wanted)
    items = items_of(records)
    if (finished := stage.finished(items)) is not None:
        return finished
    examine = Examine(stage.folder.parent, stage.folder, **measures)
    outcomes = stage.run(items, examine, workers, progress)
    seen = [outcome.record for outcome in outcomes if outcome.record]
    limit = wanted.unsafe
    safe = [record for record in seen if limit is None or record["unsafe"] <= limit]
    # Written so that a score that is no number counts as unsafe.
    unsafe = [record for record in seen if limit is not None and not record["unsafe"] <= limit]
    dropped = [Dropped(record, UNSAFE) for record in unsafe]
    kept, extra = safe, {}
    if wanted.clusters and safe:
        files = [stage.folder / "features" / f"{record['id']}.npy" for record in safe]
        found = cluster(np.stack([np.load(f) for f in files]), wanted.clusters, wanted.seed)
        pairs = [(r, int(c) + 1) for r, c in zip(safe, found.of, strict=True)]
        kept = [r for r, number in pairs if number in wanted.kept]
        dropped += [Dropped(r, f"cluster {n}") for r, n in pairs if n not in wanted.kept]
        extra["clusters"] = found.sizes
        _show_clusters(stage, safe, found, wanted.kept)
    _show_removed(stage, kept, dropped)
    stage.finish(items, kept, dropped, **extra)
    return kept


def _show_clusters(stage: Stage, records: list[Record], found: Clusters, kept: list[int]) -> None:
    """Each cluster: the pictures nearest its centre, then the farthest."""
    rows = []
    for number, size in enumerate(found.sizes):
        (members,) = np.nonzero(found.of == number)
        order = members[np.argsort(found.distances[members], kind="stable")]
        shown = order if len(order) <= 36 else np.concatenate([order[:24], order[-12:]])
        fate = "kept" if number + 1 in kept else "removed"
        share = f"{100 * size / len(records):.0f} %"
        caption = f"cluster {number + 1}, {fate}: {size} pictures ({share}), typical ones first"
        rows.append((caption, [Tile(stage.folder.parent / records[i]["crop_file"]) for i in shown]))
    save_sheet(stage.folder / "clusters.jpg", rows)


def _show_removed(stage: Stage, kept: list[Record], dropped: list[Dropped]) -> None:
    stages = stage.folder.parent
    tiles = [Tile(stages / record["crop_file"]) for record in kept]
    save_sheet(stage.folder / "sheet.jpg", [(f"{len(kept)} kept", spread(tiles))])
    rows = []
    for reason in sorted({d.reason for d in dropped}):
        gone = [Tile(stages / d.record["crop_file"]) for d in dropped if d.reason == reason]
        rows.append((f"{len(gone)} removed: {reason}", spread(gone)))
    save_sheet(stage.folder / "dropped.jpg", rows)
