"""The fleet as people look at it: each worker, what it is at, what is wrong with it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from webgui.buffer.models import Batch
from webgui.registry.models import Release
from webgui.studio.models import Job

from .models import Worker
from .problems import UnknownWorker


@dataclass(frozen=True)
class Task:
    """One order or job that a worker has in hand."""

    what: str  # "batch" or the job's kind
    about: str  # pool or release
    images: int | None
    fraction: float
    note: str


@dataclass(frozen=True)
class Refused:
    """A release this worker does not draw any more."""

    digest: str
    title: str
    reason: str
    failures: int


@dataclass
class Standing:
    """One worker, with all that is shown of it."""

    worker: Worker
    tasks: list[Task] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)  # titles
    refused: list[Refused] = field(default_factory=list)

    @property
    def safe_to_stop(self) -> bool:
        """Drained: it has nothing in hand and nothing to deliver."""
        off_duty = self.worker.duty != Worker.duty.field.default
        return off_duty and not self.tasks and not self.worker.outbox


def find(name: str) -> Worker:
    worker = Worker.objects.filter(name=name).first()
    if worker is None:
        known = ", ".join(Worker.objects.values_list("name", flat=True)) or "none yet"
        raise UnknownWorker(f"No worker {name!r} was ever heard from. Known: {known}.")
    return worker


def standing(worker: Worker) -> Standing:
    return _standings([worker])[0]


def standings() -> list[Standing]:
    return _standings(list(Worker.objects.all()))


def _standings(workers: list[Worker]) -> list[Standing]:
    titles = _titles(workers)
    tasks = _tasks([worker.name for worker in workers])
    return [
        Standing(
            worker=worker,
            tasks=tasks[worker.name],
            loaded=[titles[digest] for digest in worker.loaded],
            refused=[
                Refused(
                    digest=entry["release_digest"],
                    title=titles[entry["release_digest"]],
                    reason=entry["reason"],
                    failures=entry["failures"],
                )
                for entry in worker.faulty
            ],
        )
        for worker in workers
    ]


def _titles(workers: list[Worker]) -> dict[str, str]:
    """Of each release they spoke of; the head of its digest where it is not known here."""
    spoken_of = {digest for worker in workers for digest in worker.loaded}
    spoken_of |= {entry["release_digest"] for worker in workers for entry in worker.faulty}
    known = dict(Release.objects.filter(digest__in=spoken_of).values_list("digest", "title"))
    return {digest: known.get(digest, f"{digest[:12]}…") for digest in spoken_of}


def _tasks(names: list[str]) -> dict[str, list[Task]]:
    """The one it is at first."""
    found: dict[str, list[Task]] = defaultdict(list)
    for job in Job.objects.filter(state__in=Job.OPEN, worker__in=names).select_related("release"):
        found[job.worker].append(Task(job.kind, job.release.title, None, job.fraction, job.note))
    orders = Batch.objects.filter(state=Batch.State.ORDERED, worker__in=names)
    for batch in orders.select_related("pool").order_by("ordered_at"):
        found[batch.worker].append(
            Task("batch", batch.pool.name, batch.count, batch.fraction, batch.note)
        )
    for tasks in found.values():
        tasks.sort(key=lambda task: -task.fraction)
    return found
