"""Why an order is not carried out here. Each is a class, so that the server can count kinds and
knows whether another worker may do better."""

from __future__ import annotations

from typing import ClassVar


class Refusal(Exception):
    """The message says why, and what to do."""

    kind: ClassVar[str] = "other"
    elsewhere: ClassVar[bool] = False
    """This worker is to blame, not the order: another may well carry it out."""
    blames_release: ClassVar[bool] = False
    """Three in a row, and the release is faulty on this worker."""


class UnknownRelease(Refusal):
    """Neither this worker's release path nor the server has the digest."""

    kind = "unknown-release"


class NotFetched(Refusal):
    """The release did not come from the server, this time."""

    kind = "not-fetched"
    elsewhere = True


class BrokenRelease(Refusal):
    """The release's files are here and whole, but it cannot be loaded."""

    kind = "broken-release"
    elsewhere = True
    blames_release = True


class DrawingFault(Refusal):
    """The release is loaded and fails at its work."""

    kind = "drawing-fault"
    elsewhere = True
    blames_release = True


class OutOfMemory(Refusal):
    """Not even one image at a time fits into memory."""

    kind = "out-of-memory"
    elsewhere = True
    blames_release = True


class FaultyHere(Refusal):
    """The release failed here too often; see `faulty`."""

    kind = "faulty-release"
    elsewhere = True


class Unreadable(Refusal):
    """The message does not follow the contract."""

    kind = "unreadable"


class UnknownJob(Refusal):
    """This worker does no jobs of that kind."""

    kind = "unknown-job"
    elsewhere = True


class BadParams(Refusal):
    """The order's params cannot be used."""

    kind = "bad-params"


class EmptyBatch(Refusal):
    """Curation kept nothing."""

    kind = "empty-batch"


class DeadlyOrder(Refusal):
    """Making this batch has killed the process again and again. Nobody else is to try it."""

    kind = "deadly-order"
    blames_release = True


class TooLong(Refusal):
    """The batch took longer than this worker allows."""

    kind = "too-long"
    elsewhere = True


class NoRoom(Refusal):
    """The worker's disk is too full to take on anything."""

    kind = "no-room"
    elsewhere = True


class InMaintenance(Refusal):
    """Somebody works at this worker."""

    kind = "maintenance"
    elsewhere = True


class Unforeseen(Refusal):
    """A fault of the worker's own program."""

    kind = "unforeseen"
    elsewhere = True
