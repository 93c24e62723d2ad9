"""Every message and file manifest that crosses the wire between server and worker.

JSON only. The server imports this module and nothing else of the worker, so it must stay
free of torch, Celery and Django. Version rule: a reader accepts its own major version
(`CONTRACT`) and refuses any other with `UnknownContract`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

CONTRACT = 1

# Celery queue names of the server. A worker reads `live_queue(name)` and then `worker_queue(name)`:
# whatever it is sent is meant for it alone.
SERVER_QUEUE = "server"
# Apart from the server's other work: what is taken in takes long, a heartbeat must be read soon.
INGEST_QUEUE = "ingest"

# Celery task names: the sender of a message imports nothing of the receiver.
GENERATE_BATCH = "generator_worker.generate_batch"
BATCH_RECEIVED = "generator_worker.batch_received"
SET_DUTY = "generator_worker.set_duty"
FORGIVE_RELEASE = "generator_worker.forgive_release"
RUN_JOB = "generator_worker.run_job"
JOB_RECEIVED = "generator_worker.job_received"
CANCEL_JOB = "generator_worker.cancel_job"
BATCH_DELIVERED = "buffer.batch_delivered"
BATCH_PROGRESS = "buffer.batch_progress"
BATCH_FAILED = "buffer.batch_failed"
HEARTBEAT = "fleet.heartbeat"
JOB_PROGRESS = "studio.job_progress"
JOB_FAILED = "studio.job_failed"
JOB_DELIVERED = "studio.job_delivered"

# Seconds until the broker hands out an unacknowledged message again. Every application on one
# broker must use the same: the shortest wins.
VISIBILITY_TIMEOUT = 3600

# Near-duplicates: pictures are compared as LOOK_GRID × LOOK_GRID mean colours, and differ if some
# cell's red, green or blue does by MIN_DISTANCE (of 255), unless their release says otherwise.
LOOK_GRID = 16
MIN_DISTANCE = 12.0

MANIFEST_NAME = "manifest.json"
JOB_FOLDER = "job-"
MAX_BATCH = 512
MAX_PREVIEW = 64
# Two pictures of which no pixel differs by more, of 255, are the same but for rounding.
ROUNDING = 1

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}\.png$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=60)]
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class ContractError(ValueError):
    """The message or manifest does not follow the contract."""


class UnknownContract(ContractError):
    """The message speaks a contract version this side does not know."""


def worker_queue(worker: str) -> str:
    """The queue that only this worker consumes: orders and receipts."""
    return f"worker.{worker}"


def live_queue(worker: str) -> str:
    """What somebody waits for, and word of its duty: read before `worker_queue`."""
    return f"worker.{worker}.live"


def cancel_queue(worker: str) -> str:
    """Jobs called off. The worker looks here itself while it runs one: in any other queue such
    word would wait behind the very job."""
    return f"worker.{worker}.cancel"


def own_queues(worker: str) -> tuple[str, ...]:
    """All that this worker reads, and nobody else."""
    return live_queue(worker), worker_queue(worker), cancel_queue(worker)


def job_folder(job_id: UUID) -> str:
    """What a job brings is delivered under this name; a batch under its bare id."""
    return f"{JOB_FOLDER}{job_id}"


def worker_account(worker: str) -> str:
    """What the worker is called at the broker and at the SFTP server."""
    return f"worker-{worker}"


class Wire(BaseModel):
    """Base of everything on the wire: immutable, strict about unknown fields, versioned."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    contract: int = CONTRACT

    def wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    @classmethod
    def read(cls, data: Any) -> Self:
        """Parse a received message; the version is looked at before anything else."""
        version = data.get("contract") if isinstance(data, dict) else None
        if version != CONTRACT:
            raise UnknownContract(
                f"{cls.__name__} speaks contract {version!r}; this side speaks {CONTRACT}. "
                "Upgrade the older of server and worker."
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ContractError(f"{cls.__name__}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"]) or "message"
    return f"{where}: {fault['msg']}"


class GenerateBatch(Wire):
    """Server → worker: make `count` avatars from seeds `base_seed`, `base_seed + 1`, …

    Curation drops some, so a batch may bring fewer than `count` images.
    """

    batch_id: UUID
    attempt: int = Field(default=1, ge=1)
    pool: str
    release_digest: Sha256
    count: int = Field(ge=1, le=MAX_BATCH)
    base_seed: int = Field(ge=0, lt=2**53)
    params: dict[str, Any] = {}


class BatchProgress(Wire):
    """Worker → server, at most about once a second: how far the batch is, from 0 to 1."""

    batch_id: UUID
    worker: Name
    fraction: float = Field(ge=0, le=1)
    note: str = Field(default="", max_length=200)


class BatchDelivered(Wire):
    """Worker → server: `inbox/new/<batch_id>/` is whole."""

    batch_id: UUID
    worker: Name
    count: int = Field(ge=0, le=MAX_BATCH)
    bytes: int = Field(ge=0)


class BatchFailed(Wire):
    """Worker → server: this order cannot be carried out here, and why."""

    batch_id: UUID
    worker: Name
    attempt: int = Field(default=1, ge=1)
    reason: str = Field(max_length=2000)
    kind: Kind = Field(default="other", description="the reason's class, such as `faulty-release`")
    elsewhere: bool = Field(
        default=False, description="the worker is to blame: another may well carry the order out"
    )
    drawn: int = Field(
        default=0, ge=0, le=MAX_BATCH, description="images drawn, though none was worth keeping"
    )


class BatchReceipt(Wire):
    """Server → worker: the batch is settled (ingested or quarantined); the outbox may forget it."""

    batch_id: UUID


class Duty(StrEnum):
    """What the server wants of a worker. It sends orders to those that work, and to no other."""

    WORKING = "working"
    DRAINING = "draining"  # finishes what it has, takes nothing new
    MAINTENANCE = "maintenance"  # hands back what it has not begun


class SetDuty(Wire):
    """Server → worker, by `live_queue`. The worker remembers it, and says it in its heartbeat."""

    duty: Duty


class ForgiveRelease(Wire):
    """Server → worker, by `live_queue`: try this release again, though it was faulty here."""

    release_digest: Sha256


class State(StrEnum):
    """What a worker is at."""

    STARTING = "starting"
    REFUSING = "refusing"  # a finding of level `failure` says why; it looks again by itself
    IDLE = "idle"
    BUSY = "busy"
    DRAINED = "drained"  # told to drain, and everything it had is delivered


class Finding(BaseModel):
    """What a worker found out about one thing it needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    check: str = Field(max_length=40)
    level: Literal["ok", "warning", "failure"]
    detail: str = Field(max_length=500)
    advice: str = Field(default="", max_length=500, description="what to do about it")


class FaultyRelease(BaseModel):
    """A release that failed on a worker so often that orders for it are refused there."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    release_digest: Sha256
    reason: str = Field(max_length=500)
    failures: int = Field(ge=1)
    since: AwareDatetime


class Heartbeat(Wire):
    """Worker → server, every ten seconds."""

    worker: Name
    software: str
    device: str
    memory_bytes: int = Field(ge=0, description="the device's, or the host's where there is no GPU")
    loaded: tuple[Sha256, ...] = ()
    outbox: int = Field(default=0, ge=0, description="batches made and not receipted")
    images_per_minute: float = Field(default=0, ge=0, description="of the last batch")
    duty: Duty = Duty.WORKING
    state: State = State.IDLE
    findings: tuple[Finding, ...] = Field(default=(), max_length=30)
    faulty: tuple[FaultyRelease, ...] = Field(default=(), max_length=100)
    speeds: dict[Sha256, Amount] = Field(
        default={}, max_length=100, description="release: images drawn a second"
    )
    clock: AwareDatetime | None = Field(default=None, description="the worker's, as it sent this")
    started: AwareDatetime | None = Field(default=None, description="the counts below began here")
    batches: int = Field(default=0, ge=0, description="made since the start")
    images: int = Field(default=0, ge=0, description="kept since the start")
    failures: dict[Kind, Count] = Field(
        default={}, max_length=100, description="kind of refusal or fault: how often since start"
    )
    resident_bytes: int = Field(default=0, ge=0, description="main process and child together")
    gpu: str = Field(default="", max_length=200, description="empty where there is none")
    gpu_use: float | None = Field(default=None, ge=0, le=1)
    gpu_memory_used_bytes: int | None = Field(default=None, ge=0)
    disk_free_bytes: int | None = Field(default=None, ge=0, description="where the outbox lies")


class ManifestImage(BaseModel):
    """One image file of a batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: FileName
    sha256: Sha256
    bytes: int = Field(gt=0)
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    seed: int = Field(ge=0, lt=2**53)
    score: float = Field(ge=0, le=1)
    safety: float = Field(ge=0, le=1, description="probability of being unsafe")
    tags: tuple[Tag, ...] = ()


class Manifest(Wire):
    """`manifest.json` of one delivered batch."""

    batch_id: UUID
    release_digest: Sha256
    worker: Name
    software: str
    created: datetime
    params: dict[str, Any] = {}
    images: tuple[ManifestImage, ...] = Field(max_length=MAX_BATCH)

    @property
    def folder(self) -> str:
        """The name it is delivered under."""
        return str(self.batch_id)


class RunJob(Wire):
    """Server → worker, by `live_queue`: do this now, somebody waits for it.

    `params` depend on the kind; a preview's are `PreviewParams`.
    """

    job_id: UUID
    attempt: int = Field(default=1, ge=1)
    kind: Kind
    release_digest: Sha256
    params: dict[str, Any] = {}


class CancelJob(Wire):
    """Server → worker, by `cancel_queue`: nobody wants it any more."""

    job_id: UUID


class JobProgress(Wire):
    """Worker → server, about once a second: `step` of `of` are done; what is at hand."""

    job_id: UUID
    worker: Name
    step: int = Field(ge=0)
    of: int = Field(ge=1)
    note: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.step > self.of:
            raise ValueError(f"step {self.step} of {self.of}")
        return self


class JobFailed(Wire):
    """Worker → server: this attempt came to nothing here, and why."""

    job_id: UUID
    worker: Name
    attempt: int = Field(default=1, ge=1)
    reason: str = Field(max_length=2000)
    kind: Kind = Field(default="other", description="the reason's class, as in `BatchFailed`")


class JobDelivered(Wire):
    """Worker → server: `inbox/new/<job_folder>/` is whole."""

    job_id: UUID
    worker: Name
    count: int = Field(ge=0, le=MAX_BATCH)
    bytes: int = Field(ge=0)


class JobReceipt(Wire):
    """Server → worker: the job is settled, one way or another; the outbox may forget it."""

    job_id: UUID


class PreviewParams(BaseModel):
    """`RunJob.params` of kind `preview`: what to draw, the same for every release."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**53)], ...] = Field(
        min_length=1, max_length=MAX_PREVIEW
    )
    tags: tuple[Tag, ...] = ()


class PartEffect(BaseModel):
    """What one part of a release does to its pictures, by drawing some with it off."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    part: str = Field(max_length=200, description="`adapter`, or a LoRA's name")
    kind: Literal["adapter", "lora"]
    largest: int = Field(ge=0, le=255, description="difference of any pixel's red, green or blue")
    mean: float = Field(ge=0, le=255)

    @property
    def changes_nothing(self) -> bool:
        return self.largest <= ROUNDING


class PreviewReport(BaseModel):
    """`JobManifest.report` of kind `preview`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    device: str = Field(max_length=200)
    load_seconds: Amount
    first_seconds: Amount = Field(description="of the first image, which warms things up")
    seconds_per_image: Amount = Field(description="of the others; of the first if it is alone")
    peak_memory_bytes: int = Field(ge=0, description="of the GPU, or of the process without one")
    min_score: float = Field(ge=0, le=1, description="benign from here on, by this release")
    benign: int = Field(ge=0, le=MAX_PREVIEW)
    kept: int = Field(ge=0, le=MAX_PREVIEW, description="what a batch would have kept of them")
    curation: str = Field(default="", max_length=500, description="why not the others")
    parts: tuple[PartEffect, ...] = Field(default=(), max_length=100)


class JobManifest(Wire):
    """`manifest.json` of what one job brings."""

    job_id: UUID
    kind: Kind
    release_digest: Sha256
    worker: Name
    software: str
    created: datetime
    params: dict[str, Any] = {}
    images: tuple[ManifestImage, ...] = Field(max_length=MAX_BATCH)
    report: dict[str, Any] = Field(default={}, description="what else there is to tell, by kind")

    @property
    def folder(self) -> str:
        return job_folder(self.job_id)


class ReleaseComponent(BaseModel):
    """One file of a release bundle, named by its path inside the bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    file: str
    sha256: Sha256
    bytes: int = Field(ge=0)


class ReleaseManifest(BaseModel):
    """`release.json` of a release bundle.

    The release's digest is the SHA-256 of the file's bytes; the components' digests inside it
    make it name every weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1]
    name: str
    title: str
    description: str = ""
    # Tag groups: {"hair colour": {"pink hair": 0.07, …}, …}; numbers are frequencies in training.
    tags: dict[str, dict[str, float]]
    params: dict[str, Any]
    components: tuple[ReleaseComponent, ...]
    licences: tuple[dict[str, str], ...]
    provenance: dict[str, Any] = {}
    measured: dict[str, Any] = {}
