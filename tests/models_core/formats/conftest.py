"""Tiny networks with weights that show every difference, and a watch on what the reader does."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

import models_core.formats.convert
import models_core.formats.inspection  # noqa: F401  imported now, so that no import is seen later
from models_core.stylegan2 import Discriminator, Generator

SYNTHESIS = {"channel_base": 128, "channel_max": 16}
FORBIDDEN = ("exec", "compile", "import", "os.", "subprocess.", "socket.", "ctypes.", "pickle.")
HARMLESS = ("os.listdir", "os.scandir", "os.walk", "os.mkdir", "os.rename", "os.rmdir", "os.remove")
_watching: list[list[str]] = []


def _hook(event: str, args: object) -> None:
    if _watching and event.startswith(FORBIDDEN) and event not in HARMLESS:
        _watching[-1].append(f"{event} {args!r:.200}")


sys.addaudithook(_hook)


@contextmanager
def _nothing_runs() -> Iterator[None]:
    seen: list[str] = []
    _watching.append(seen)
    try:
        yield
    finally:
        _watching.remove(seen)
    assert seen == [], "the reader imported, compiled or called something"


@pytest.fixture
def nothing_runs() -> Callable[[], object]:
    """A context in which any import, execution, process or socket fails the test."""
    return _nothing_runs


@pytest.fixture
def make_G() -> Callable[..., Generator]:
    def make(c_dim: int = 0, lr_multiplier: float = 0.01) -> Generator:
        mapping = {"num_layers": 2, "lr_multiplier": lr_multiplier}
        return stirred(
            Generator(8, c_dim, 8, 16, mapping_kwargs=mapping, synthesis_kwargs=SYNTHESIS)
        )

    return make


@pytest.fixture
def make_D() -> Callable[..., Discriminator]:
    def make(c_dim: int = 0, **options: float) -> Discriminator:
        return stirred(Discriminator(c_dim, 16, **SYNTHESIS, **options))

    return make


def stirred(network):
    """Every tensor but the FIR filters changed at random: biases and strengths are no zeros."""
    torch.manual_seed(3)
    for name, value in network.state_dict().items():
        if not name.endswith("resample_filter"):
            value.add_(torch.randn_like(value) * 0.3)
    return network.eval()
