"""Ids that travel with messages, so that what one process logs is found in the next.

    Celery("name", task_cls=traces.TracedTask)
    app.send_task(…, headers=traces.headers())

The batch or job is in the message itself. The web request behind it travels in a header: were it
part of the contract, a worker of an earlier version would refuse the message for a field that
matters to no avatar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from messaging import link, logs

HEADER = "request_id"
NAMED = {"batch_id": "batch", "job_id": "job", "checkpoint_id": "checkpoint", "worker": "worker"}


class TracedTask(link.WatchedTask):
    """Whatever it logs carries the ids of its message."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with logs.bound(**_ids(self.request, kwargs.get("message"))):
            return self.run(*args, **kwargs)


def headers() -> dict[str, str]:
    """For a message that is sent now: the web request on whose account it is."""
    request = logs.current.get().get("request", "")
    return {HEADER: request} if request else {}


def _ids(context: Any, message: Any) -> dict[str, str]:
    """Neither is believed more than an id deserves: they come from another host."""
    told = message if isinstance(message, Mapping) else {}
    ids = {name: logs.usable(told.get(field)) for field, name in NAMED.items()}
    return {"request": logs.usable((context.headers or {}).get(HEADER)), **ids}
