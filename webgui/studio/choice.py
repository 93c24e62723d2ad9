"""Which worker gets a job."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from webgui.fleet import roster


def worker_for_job(digest: str, jobs: Mapping[str, int], avoid: Collection[str] = ()) -> str | None:
    """Of the workers alive the one with the fewest jobs; rather one that has the release loaded."""
    able = [worker for worker in roster.alive() if worker.name not in avoid]
    ranked = sorted(able, key=lambda w: (jobs.get(w.name, 0), digest not in w.loaded, w.name))
    return ranked[0].name if ranked else None
