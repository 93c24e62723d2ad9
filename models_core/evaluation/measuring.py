"""All figures of one row, remembered in the run folder by what they were measured on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models_core.critic.critic import Critic
from models_core.data.dataset import to_tensor
from models_core.metrics.benign import benign_rate
from models_core.metrics.features import Extractor, digest
from models_core.metrics.frechet import frechet_distance
from models_core.metrics.kernel import kernel_distance
from models_core.metrics.precision_recall import precision_recall
from models_core.metrics.tags import TagReader, agreement
from models_core.metrics.two_sample import two_sample_accuracy

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Figures:
    """What is measured on a row's pictures."""

    n: int
    benign_rate: float
    benign_low: float
    benign_high: float
    two_sample_accuracy: float
    two_sample_low: float
    two_sample_high: float
    frechet: float
    kernel: float
    kernel_deviation: float
    precision: float
    recall: float
    agreement: Mapping[str, float]  # by tag group


class Measures:
    """The judges, and the real pictures that all rows are compared with."""

    def __init__(
        self,
        reference: np.ndarray,
        critic: Critic,
        critic_digest: str,
        extractor: Extractor,
        reader: TagReader,
        cache: Path,
    ) -> None:
        """reference: uint8 [n, size, size, 3]; cache: where figures and features are kept."""
        self.reference, self.critic, self.extractor = reference, critic, extractor
        self.reader, self.cache = reader, cache
        weights = {name: float(v.double().sum()) for name, v in reader.state_dict().items()}
        self._identity = [digest(reference), critic_digest, extractor.name, weights]

    def __call__(
        self, images: np.ndarray, asked: Sequence[Mapping[str, str]], progress: Progress
    ) -> Figures:
        """images: uint8 [n, size, size, 3]; asked: each one's tags by group.

        `progress` gets (what is being done, done, of).
        """
        identity = json.dumps([*self._identity, digest(images), list(asked)], sort_keys=True)
        name = hashlib.sha256(identity.encode()).hexdigest()[:16]
        file = self.cache / f"figures-{name}.json"
        if file.exists():
            return Figures(**json.loads(file.read_text()))
        figures = self._measured(images, asked, progress)
        self.cache.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(asdict(figures), indent=2) + "\n")
        part.replace(file)
        return figures

    def _measured(
        self, images: np.ndarray, asked: Sequence[Mapping[str, str]], progress: Progress
    ) -> Figures:
        def doing(what: str) -> Callable[[int, int], None]:
            return lambda done, of: progress(what, done, of)

        real = self.extractor(self.reference, doing("features of real pictures"))
        made = self.extractor(images, doing("features"))
        benign = benign_rate(self._scores(images, doing("critic")))
        told = two_sample_accuracy(self.reference, images, progress=doing("two-sample test"))
        progress("distances", 0, 1)
        kernel, deviation = kernel_distance(real, made)
        precision, recall = precision_recall(real, made)
        return Figures(
            n=len(images),
            benign_rate=benign.value,
            benign_low=benign.low,
            benign_high=benign.high,
            two_sample_accuracy=told.value,
            two_sample_low=told.low,
            two_sample_high=told.high,
            frechet=frechet_distance(real, made),
            kernel=kernel,
            kernel_deviation=deviation,
            precision=precision,
            recall=recall,
            agreement=agreement(self.reader, images, asked),
        )

    def _scores(self, images: np.ndarray, progress: Callable[[int, int], None]) -> list[float]:
        scores: list[float] = []
        for start in range(0, len(images), 64):
            scores += self.critic(to_tensor(images[start : start + 64]))
            progress(len(scores), len(images))
        return scores
