"""The pipeline of augmentations that the discriminator sees images through."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from models_core.stylegan2.ada.blit import blit
from models_core.stylegan2.ada.colour import colour
from models_core.stylegan2.ada.corruption import cutout, noise
from models_core.stylegan2.ada.filtering import filtering
from models_core.stylegan2.ada.geometry import geometry

# In the order of application (Karras 2020b, Fig. 15).
CLASSES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "blit": blit,
    "geometry": geometry,
    "colour": colour,
    "filter": filtering,
    "noise": noise,
    "cutout": cutout,
}
# What the paper found to help most (§3.2); the others help little or not at all.
DEFAULT_CLASSES = ("blit", "geometry", "colour")


class Augmentation:
    """T(images): every transformation of the chosen classes, each with probability p an image.

    Differentiable twice by the images: G learns through it, and R1 is taken before it.
    """

    def __init__(self, classes: Sequence[str] = DEFAULT_CLASSES) -> None:
        if unknown := [name for name in classes if name not in CLASSES]:
            raise ValueError(f"no augmentation {unknown[0]!r}; there are {', '.join(CLASSES)}")
        self.steps = [step for name, step in CLASSES.items() if name in classes]

    def __call__(self, images: Tensor, p: float) -> Tensor:
        """images [N, 3, R, R] in [−1, 1] → the same shape. With p = 0, the images themselves."""
        if p <= 0:
            return images
        for step in self.steps:
            images = step(images, p)
        return images
