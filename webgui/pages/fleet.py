"""Administrators' page about the fleet: workers, alarms, how the last hour or day went."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from generator_worker.contract import Duty
from webgui.accounts import audit
from webgui.fleet import alarms, duty, samples, survey
from webgui.fleet.models import Alarm, Worker
from webgui.problems import Problem

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
ROWS = 12  # of the charts' figures in words
MOODS = {
    Worker.SILENT: ("silent", "bad"),
    Worker.REFUSING: ("refuses work", "bad"),
    Duty.WORKING: ("working", "good"),
    Duty.DRAINING: ("draining", "busy"),
    Duty.MAINTENANCE: ("maintenance", "busy"),
}
ACTS = {
    Duty.WORKING: "Back to work",
    Duty.DRAINING: "Drain",
    Duty.MAINTENANCE: "Maintenance",
}


@dataclass(frozen=True)
class Card:
    """One worker as the page shows it."""

    standing: survey.Standing
    word: str
    mood: str
    facts: list[tuple[str, str]]
    acts: list[tuple[str, str]]

    @property
    def worker(self) -> Worker:
        return self.standing.worker


@never_cache
@staff_member_required
@require_http_methods(["GET", "HEAD", "POST"])
def fleet(request: HttpRequest) -> HttpResponse:
    trouble = None
    if request.method == "POST":
        try:
            _act(request)
            return redirect("fleet")
        except Problem as problem:
            trouble = problem
    context = _now(request) | {"page": "fleet", "trouble": trouble}
    return render(request, "pages/fleet.html", context, status=trouble.status if trouble else 200)


@never_cache
@staff_member_required
@require_safe
def now(request: HttpRequest) -> HttpResponse:
    """The part of the page that changes, for its script."""
    return render(request, "parts/fleet.html", _now(request))


def _act(request: HttpRequest) -> None:
    worker = survey.find(request.POST.get("worker", "")[:63])
    actor = audit.actor_of(request)
    if release := request.POST.get("forgive", "")[:64]:
        duty.forgive(worker, release, actor)
        return
    wanted = request.POST.get("duty", "")
    if wanted not in ACTS:
        raise Problem(f"{wanted[:40]!r} is no duty: one of {', '.join(ACTS)}.")
    duty.set_duty(worker, Duty(wanted), actor, request.POST.get("reason", "").strip())


def _now(request: HttpRequest) -> dict[str, Any]:
    span = request.GET.get("span", "hour")
    span = span if span in SPANS else "hour"
    chart = samples.history(SPANS[span])
    return {
        "span": span,
        "spans": list(SPANS),
        "alarms": alarms.raised(),
        "past": Alarm.objects.exclude(cleared_at=None).order_by("-cleared_at")[:5],
        "cards": [_card(standing) for standing in survey.standings()],
        "pools": [series["pool"] for series in chart["pools"]],
        "rows": _rows(chart),
    }


def _card(standing: survey.Standing) -> Card:
    worker = standing.worker
    word, mood = MOODS[worker.state]
    acts = [(duty.value, ACTS[duty]) for duty in ACTS if duty != worker.duty]
    return Card(standing, word, mood, [fact for fact in _facts(worker) if fact[1]], acts)


def _facts(worker: Worker) -> list[tuple[str, str]]:
    report = worker.report
    memory = filesizeformat(worker.memory_bytes) if worker.memory_bytes else ""
    used = report.get("gpu_memory_used_bytes")
    if memory and used is not None:
        memory = f"{filesizeformat(used)} of {memory} in use"
    use = report.get("gpu_use")
    free = report.get("disk_free_bytes")
    failures = report.get("failures", {})
    speed = worker.images_per_minute
    return [
        ("Device", report.get("gpu") or worker.device),
        ("GPU use", f"{round(100 * use)} %" if use is not None else ""),
        ("Memory", memory),
        ("Speed", f"{speed:.0f} images a minute" if speed else "not measured yet"),
        ("Made", f"{report['images']} images since it started" if report.get("images") else ""),
        ("Outbox", f"{worker.outbox} to deliver"),
        ("Disk", f"{filesizeformat(free)} free" if free is not None else ""),
        ("Failures", ", ".join(f"{count} × {kind}" for kind, count in failures.items()) or "none"),
        ("Last fault", worker.last_fault if worker.faults else ""),
        ("Software", worker.software),
    ]


def _rows(chart: dict[str, Any]) -> list[dict[str, Any]]:
    """The charts in figures: about a dozen moments, the lowest level and mean rates of each."""
    size = max(1, -(-len(chart["times"]) // ROWS))
    rows = []
    for start in range(0, len(chart["times"]), size):
        part = slice(start, start + size)
        levels = [
            min((level for level in series["available"][part] if level is not None), default="–")
            for series in chart["pools"]
        ]
        last = chart["times"][part][-1]
        rows.append(
            {
                "at": datetime.fromtimestamp(last, tz=UTC),
                "levels": levels,
                "claims": _mean(chart["claims"][part]),
                "images": _mean(chart["images"][part]),
                "workers": chart["workers"][part][-1],
            }
        )
    return rows[::-1]


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 1)
