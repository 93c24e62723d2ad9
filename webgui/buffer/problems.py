"""Why a claim cannot be answered. Each has a stable `code`, shown by the API and the pages."""

from __future__ import annotations

from webgui.problems import Problem


class UnknownPool(Problem):
    code = "unknown_pool"
    title = "No such pool"


class UnknownTag(Problem):
    code = "unknown_tag"
    title = "No such tag in this pool"


class ConflictingTags(Problem):
    code = "conflicting_tags"
    title = "No avatar can have both tags"


class BadIdempotencyKey(Problem):
    code = "bad_idempotency_key"
    title = "The Idempotency-Key is not usable"


class KeyReused(Problem):
    status = 409
    code = "idempotency_key_reused"
    title = "The Idempotency-Key belongs to another request"


class NoPool(Problem):
    status = 503
    code = "no_pool"
    title = "No pool is set up"


class NoWorkerAlive(Problem):
    status = 503
    code = "no_worker"
    title = "No such avatar is left and no worker is alive"


class PoolPaused(Problem):
    status = 503
    code = "pool_paused"
    title = "No such avatar is left and the pool is paused"


class PoolRetired(Problem):
    status = 503
    code = "pool_retired"
    title = "No such avatar is left and the pool's release is retired"


class PoolInTrouble(Problem):
    status = 503
    code = "pool_in_trouble"
    title = "No such avatar is left and the last orders failed"


class LineFull(Problem):
    status = 503
    code = "line_full"
    title = "Too many are waiting already"


class TooManyTickets(Problem):
    status = 429
    code = "too_many_tickets"
    title = "You are waiting for several already"


class BadSize(Problem):
    code = "bad_size"
    title = "The size is not offered"


class BadFormat(Problem):
    code = "bad_format"
    title = "The format is not offered"


class NoSuchPool(Problem):
    status = 404
    code = "not_found"
    title = "There is no such pool"


class NotPreviewed(Problem):
    status = 409
    code = "not_previewed"
    title = "The release has no good preview"


class InUse(Problem):
    status = 409
    code = "in_use"
    title = "The pool uses this release already"


class ChangedMeanwhile(Problem):
    status = 409
    code = "changed_meanwhile"
    title = "Somebody else changed the pool meanwhile"


class NothingToRollBack(Problem):
    status = 409
    code = "nothing_to_roll_back"
    title = "The pool has no release to go back to"


class NoCanary(Problem):
    status = 409
    code = "no_canary"
    title = "The pool tries no canary"


class BadPool(Problem):
    code = "bad_pool"
    title = "The pool cannot be like this"


class NotFound(Problem):
    status = 404
    code = "not_found"
    title = "Not found"
