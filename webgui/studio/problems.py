"""Why a job cannot be had or changed."""

from __future__ import annotations

from webgui.problems import Problem


class NoSuchPreview(Problem):
    status = 404
    code = "not_found"
    title = "There is no such preview"


class NotUnderWay(Problem):
    status = 409
    code = "wrong_state"
    title = "It is over already"
