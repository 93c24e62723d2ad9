"""The names of the schedulers, which the server needs without torch."""

from models_core.releases import sampling
from models_core.stylediffuser import schedulers


def test_the_schedulers_are_those_that_are_made():
    assert tuple(schedulers.SCHEDULERS) == sampling.SCHEDULERS
