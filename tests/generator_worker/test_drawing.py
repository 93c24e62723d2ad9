"""Running out of memory costs speed, never the batch; what runs out is torch's own allocator."""

from __future__ import annotations

import pytest
import torch
from celery.exceptions import SoftTimeLimitExceeded

from generator_worker import memory
from generator_worker.drawing import AT_ONCE, Painter
from generator_worker.refusals import BadParams, DrawingFault, OutOfMemory
from models_core.releases import ReleaseError
from tests.generator_worker.small_release import SmallRelease


class Hungry(SmallRelease):
    """Asks for more memory than any machine has, where it gets more images than fit."""

    device = "cpu"

    def __init__(self, fits: int, **options) -> None:
        super().__init__(**options)
        self.fits = fits

    def generate(self, seeds, **options):
        drafts = super().generate(seeds, **options)
        self._eat(seeds)
        return drafts

    def upscale(self, images):
        self._eat(images)
        return super().upscale(images)

    def _eat(self, items) -> None:
        if len(items) > self.fits:
            torch.empty(2**50)


def test_torch_says_so_on_this_machine_too():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert memory.ran_out(caught.value)
    assert memory.ran_out(MemoryError())
    assert memory.ran_out(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert memory.ran_out(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"))
    assert not memory.ran_out(RuntimeError("sizes do not match"))


def test_half_as_many_at_once_until_they_fit_and_the_same_images_come_out():
    release, plenty = Hungry(fits=2), SmallRelease()
    painter = Painter(release)
    drafts = painter.draw(range(8), tags=["smiling"])
    assert [len(seeds) for seeds, _, _ in release.asked] == [8, 4, 2, 2, 2, 2]
    expected = plenty.generate(range(8), tags=["smiling"])
    assert [draft.seed for draft in drafts] == [draft.seed for draft in expected]
    assert [draft.image.tobytes() for draft in drafts] == [d.image.tobytes() for d in expected]
    release.asked.clear()
    painter.draw(range(8, 12))  # remembered for the next batch
    assert [len(seeds) for seeds, _, _ in release.asked] == [2, 2]
    assert len(painter.upscale([draft.image for draft in drafts])) == 8


def test_the_models_own_batch_size_shrinks_with_it():
    release = Hungry(fits=2, params={"batch_size": 16})
    Painter(release).draw(range(4), params={"steps": 4})
    assert [asked for _, _, asked in release.asked] == [
        {"steps": 4},
        {"steps": 4, "batch_size": 2},
        {"steps": 4, "batch_size": 2},
    ]
    small = Hungry(fits=4)  # one at a time already, as its release has it
    Painter(small).draw(range(8))
    assert [asked for _, _, asked in small.asked] == [{}, {"batch_size": 1}, {"batch_size": 1}]


def test_other_releases_go_first():
    release, freed = Hungry(fits=0), []

    def relieve():
        freed.append(True)
        release.fits = AT_ONCE
        return len(freed) == 1

    painter = Painter(release, relieve)
    assert len(painter.draw(range(8))) == 8
    assert (painter.at_once, len(freed)) == (AT_ONCE, 1)


def test_not_even_one_at_a_time():
    painter = Painter(Hungry(fits=0))
    with pytest.raises(OutOfMemory, match="Not even one image at a time fits into memory"):
        painter.draw(range(8))


def test_progress_goes_on_through_the_parts():
    shares = []
    painter = Painter(Hungry(fits=2), at_once=2)
    painter.draw(range(6), progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) == 9


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ReleaseError("unknown parameter 'x'"), BadParams),
        (ValueError("NaN"), DrawingFault),
        (SoftTimeLimitExceeded(), SoftTimeLimitExceeded),
    ],
)
def test_other_faults_are_told_apart(monkeypatch, error, becomes):
    release = SmallRelease()

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(release, "generate", fail)
    with pytest.raises(becomes):
        Painter(release).draw([1])
