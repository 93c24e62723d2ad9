"""The most memory that was in use during something: the GPU's, or this process's without one."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from generator_worker import memory

_CLEAR_PEAK = "5"  # see clear_refs in proc(5)


class PeakMemory:
    """`with PeakMemory() as peak: …`, then `peak.bytes`; what was loaded before counts as well."""

    def __init__(self, device: str | None = None) -> None:
        self.bytes = 0
        self._device = device or "cuda"
        self._cuda = sys.modules["torch"].cuda if memory.is_gpu(device) else None

    def __enter__(self) -> Self:
        if self._cuda is not None:
            self._cuda.reset_peak_memory_stats(self._device)
        else:
            with contextlib.suppress(OSError):  # then the process's highest ever is told
                Path("/proc/self/clear_refs").write_text(_CLEAR_PEAK)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._cuda is not None:
            self.bytes = self._cuda.max_memory_allocated(self._device)
        else:
            self.bytes = _highest_resident()


def _highest_resident() -> int:
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
