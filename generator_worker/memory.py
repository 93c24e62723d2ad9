"""Measured memory: what a process holds, what a device holds, what there is in all."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
BUDGET = 0.7
"""Of the device's memory, for releases that stay loaded; the rest is for drawing."""

RAN_OUT = ("out of memory", "can't allocate memory", "alloc_failed")
"""As CUDA, torch's allocator on a CPU, and cuBLAS or cuDNN have it."""


def resident(pid: int | str = "self") -> int:
    """Bytes of a process in memory; 0 where there is no such process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def of_host() -> int:
    """Bytes this host has, or this container may use."""
    physical = PAGE * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no cgroup, or `max`
        return physical


def available() -> int:
    """Bytes this host could give without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def is_gpu(device: str | None) -> bool:
    """Whether models go to a GPU; only where torch is imported."""
    if "torch" not in sys.modules or (device and not device.startswith("cuda")):
        return False
    import torch  # which waits for another thread that is halfway through importing it

    return bool(torch.cuda.is_available())


def in_use(device: str | None) -> int:
    """Bytes of the GPU's memory in use by this process, or of the host's where there is none."""
    if is_gpu(device):
        return int(sys.modules["torch"].cuda.memory_allocated(device or "cuda"))
    return resident()


def of_device(device: str | None) -> int:
    """Bytes the GPU has, or this host where there is none."""
    if is_gpu(device):
        return int(sys.modules["torch"].cuda.get_device_properties(device or "cuda").total_memory)
    return of_host()


def free(device: str | None) -> int:
    """Bytes the GPU could still give, or this host without swapping."""
    if is_gpu(device):
        return int(sys.modules["torch"].cuda.mem_get_info(device or "cuda")[0])
    return available()


def give_back(device: str | None) -> None:
    """Hand what is no longer used back to the system, so that it is there for others, and so that
    the next measurement tells the truth."""
    gc.collect()
    if is_gpu(device):
        sys.modules["torch"].cuda.empty_cache()
    elif (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:  # glibc alone
        trim(0)


def ran_out(error: BaseException) -> bool:
    """Whether this error says that memory ran out. On a CPU, torch says so by a RuntimeError."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in RAN_OUT)
