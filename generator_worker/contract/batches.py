"""Orders for the buffer, and what they bring."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from .wire import MAX_BATCH, FileName, Kind, Name, Sha256, Tag, Wire

# Near-duplicates: pictures are compared as LOOK_GRID × LOOK_GRID mean colours, and differ if some
# cell's red, green or blue does by MIN_DISTANCE (of 255), unless their release says otherwise.
LOOK_GRID = 16
MIN_DISTANCE = 12.0


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
