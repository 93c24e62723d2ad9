"""What a worker tells about itself, and what is wanted of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from .wire import Amount, Count, Kind, Name, Sha256, Wire


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
