"""Whether this worker may take work, and why not: the preflight's result, tried again by itself."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from generator_worker.contract import Finding

log = logging.getLogger(__name__)

PATIENCE = 600.0
"""A preflight that takes longer hangs."""
RELEASE_SECONDS = 10.0
"""At a start, no release is begun to be loaded after this."""
PAUSES = (3.0, 10.0, 30.0)
MARKS = {"ok": "ok", "warning": "WARN", "failure": "FAIL"}


class Readiness:
    """Written by the waiting main thread, read by the heartbeat's."""

    def __init__(self) -> None:
        self.findings: tuple[Finding, ...] = ()
        self.passed = False

    @property
    def refusing(self) -> bool:
        return any(finding.level == "failure" for finding in self.findings)

    def wait(
        self,
        look: Callable[[], list[Finding]],
        news: Callable[[], None] = lambda: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Look again and again until nothing fails any more; `news` is called after each look."""
        tries = 0
        while not self.passed:
            self.findings = tuple(look())
            for finding in self.findings:
                log.log(LEVELS[finding.level], "Preflight: %s", line(finding))
            self.passed = not self.refusing
            news()
            if not self.passed:
                pause = PAUSES[min(tries, len(PAUSES) - 1)]
                log.error("This worker takes no work yet; it looks again in %.0f s", pause)
                sleep(pause)
            tries += 1


LEVELS = {"ok": logging.INFO, "warning": logging.WARNING, "failure": logging.ERROR}


def line(finding: Finding) -> str:
    said = f"[{MARKS[finding.level]:^4}] {finding.check:<9} {finding.detail}"
    return f"{said}\n{'':17}→ {finding.advice}" if finding.advice else said


def look_apart(argv: Sequence[str] | None = None) -> list[Finding]:
    """The findings of a preflight in a process of its own. That it dies or hangs is one, too."""
    argv = argv or [
        sys.executable, "-m", "generator_worker", "preflight", "--json",
        "--seconds", str(RELEASE_SECONDS),
    ]  # fmt: skip
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, timeout=PATIENCE, check=False)  # noqa: S603
        output, end = done.stdout, f"ended with {done.returncode}"
    except subprocess.TimeoutExpired as hung:
        output, end = hung.stdout or b"", f"was not done after {PATIENCE:.0f} s"
    except OSError as error:
        output, end = b"", f"did not start: {error}"
    findings, whole = _read(output)
    if not whole:
        after = findings[-1].check if findings else "the start"
        findings.append(
            Finding(
                check="preflight",
                level="failure",
                detail=f"It {end}, after {after}.",
                advice="Run `python -m generator_worker preflight` on that host to see why.",
            )
        )
    return findings


def _read(output: bytes) -> tuple[list[Finding], bool]:
    """The findings, and whether the last line was reached."""
    findings: list[Finding] = []
    for text in output.splitlines():
        try:
            data = json.loads(text)
            if data == {"done": True}:
                return findings, True
            findings.append(Finding.model_validate(data))
        except (ValueError, ValidationError):
            continue  # something a library printed
    return findings, False
