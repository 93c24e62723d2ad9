"""What a worker does while somebody waits for it, and what that brings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .addresses import job_folder
from .batches import ManifestImage
from .wire import MAX_BATCH, Amount, Kind, Name, Sha256, Tag, Wire

MAX_PREVIEW = 64
# Two pictures of which no pixel differs by more, of 255, are the same but for rounding.
ROUNDING = 1


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
