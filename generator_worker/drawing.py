"""A loaded release at work, with as many images at once as memory turns out to hold."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from celery.exceptions import SoftTimeLimitExceeded
from PIL import Image

from generator_worker import memory
from generator_worker.refusals import BadParams, DrawingFault, OutOfMemory, Refusal

if TYPE_CHECKING:
    from models_core.releases import Draft, LoadedRelease

log = logging.getLogger(__name__)

AT_ONCE = 8
Given = TypeVar("Given")
Made = TypeVar("Made")


def _nothing_to_free() -> bool:
    return False


@dataclass
class Painter:
    """Where memory runs out, `relieve` frees what others hold, or else half as much is done at
    once from then on."""

    release: LoadedRelease
    relieve: Callable[[], bool] = _nothing_to_free
    at_once: int = AT_ONCE

    def draw(
        self,
        seeds: Sequence[int],
        *,
        tags: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> list[Draft]:
        """One draft a seed. `progress` gets the share that is done, 0 to 1."""

        def some(part: Sequence[int], before: int) -> list[Draft]:
            def watch(step: int, of: int) -> None:
                if progress is not None:
                    progress((before + len(part) * step / max(of, 1)) / len(seeds))

            asked = self._within_memory(params or {})
            return self.release.generate(part, tags=tags, params=asked, progress=watch)

        return self._in_parts(seeds, some)

    def score(self, images: Sequence[Image.Image]) -> list[float]:
        return self._in_parts(images, lambda part, _: self.release.score(part))

    def safety(self, images: Sequence[Image.Image]) -> list[float]:
        return self._in_parts(images, lambda part, _: self.release.safety(part))

    def upscale(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        return self._in_parts(images, lambda part, _: self.release.upscale(part))

    def _in_parts(
        self,
        items: Sequence[Given],
        work: Callable[[Sequence[Given], int], list[Made]],
    ) -> list[Made]:
        made: list[Made] = []
        while len(made) < len(items):
            part = items[len(made) : len(made) + self.at_once]
            try:
                made += work(part, len(made))
                continue
            except (Refusal, SoftTimeLimitExceeded):
                raise
            except Exception as error:
                if not memory.ran_out(error):
                    raise _told(error) from error
                said = f"{type(error).__name__}: {error}"
            # Not in the handler: the error holds on to what filled the memory.
            self._make_do(said, len(part))
        return made

    def _make_do(self, said: str, tried: int) -> None:
        memory.give_back(self.release.device)
        if self.relieve():
            log.warning("Out of memory: unloaded the other releases (%s)", said)
        elif tried > 1:
            self.at_once = tried // 2
            log.warning("Out of memory: %d images at once from now on (%s)", self.at_once, said)
        else:
            raise OutOfMemory(f"Not even one image at a time fits into memory ({said}).")

    def _within_memory(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The params, with a smaller batch size where memory ran out before."""
        if self.at_once == AT_ONCE:
            return dict(params)
        usual = params.get("batch_size", self.release.manifest["params"].get("batch_size", 1))
        smaller = min(usual, self.at_once) if isinstance(usual, int) else usual
        return {**params, "batch_size": smaller}


def _told(error: Exception) -> Refusal:
    from models_core.releases import ReleaseError

    if isinstance(error, ReleaseError):  # what was asked of it is unknown or out of range
        return BadParams(str(error))
    return DrawingFault(f"{type(error).__name__}: {error}")
