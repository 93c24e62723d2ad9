"""Every fault, one function each; importing this registers them in the order they are played."""

from tests.faults.scenarios import calm, workers, broker, delivery, server, clocks  # noqa: F401, I001
