"""A preview's figures in words."""

from __future__ import annotations

from django.template.defaultfilters import filesizeformat

from generator_worker.contract import PreviewReport

from .models import Preview


def figures(preview: Preview) -> list[tuple[str, str]]:
    """(name, value) of what the worker measured; nothing while it has not."""
    if not preview.figures:
        return []
    report = PreviewReport.model_validate(preview.figures)
    count = len(preview.images)
    found = [
        ("Benign", f"{report.benign} of {count} (score {report.min_score:g} or more)"),
        ("Kept by curation", _kept(report, count)),
        ("Speed", _speed(report)),
        ("Loading", f"{_seconds(report.load_seconds)} s"),
        ("Peak memory", f"{filesizeformat(report.peak_memory_bytes)}"),
        ("Worker", f"{preview.job.worker} ({report.device})"),
    ]
    for part in report.parts:
        name = "Adapter" if part.kind == "adapter" else f"LoRA {part.part}"
        found.append((name, _effect(part.largest, part.mean, part.changes_nothing)))
    return found


def summary(preview: Preview) -> str:
    """The two figures that matter most, on one line."""
    if not preview.figures:
        return ""
    report = PreviewReport.model_validate(preview.figures)
    benign = f"{report.benign} of {len(preview.images)} benign"
    return f"{benign}, {_seconds(report.seconds_per_image)} s an image"


def _kept(report: PreviewReport, count: int) -> str:
    dropped = f"; {report.curation}" if report.kept < count and report.curation else ""
    return f"{report.kept} of {count}{dropped}"


def _effect(largest: int, mean: float, nothing: bool) -> str:
    if nothing:
        return "changes nothing"
    return f"changes pixels by {mean:.1f} of 255 on average, by {largest} at most"


def _speed(report: PreviewReport) -> str:
    each, first = _seconds(report.seconds_per_image), _seconds(report.first_seconds)
    return f"{each} s an image; the first took {first} s"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
