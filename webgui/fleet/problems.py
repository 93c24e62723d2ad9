"""Why nothing was changed about a worker. Each has a stable `code`, shown by API and pages."""

from __future__ import annotations

from webgui.problems import Problem


class UnknownWorker(Problem):
    status = 404
    code = "unknown_worker"
    title = "No such worker"


class NotFaulty(Problem):
    status = 409
    code = "not_faulty"
    title = "The release is not faulty on this worker"
