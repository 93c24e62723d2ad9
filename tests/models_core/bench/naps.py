"""What test_bench.py measures in other processes: imports little, for each of them does too."""

import time
from collections.abc import Callable

import numpy as np


def prepare(seconds: float, megabytes: int = 0, fails: bool = False) -> Callable[[], float]:
    np.ones(megabytes * 2**17)  # touched, so that it was resident at the peak

    def work() -> float:
        if fails:
            raise RuntimeError("no compiler\nsecond line")
        time.sleep(seconds)
        return seconds

    return work
