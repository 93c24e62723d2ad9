"""Adaptive discriminator augmentation (Karras 2020b), written from the paper's App. B."""

from models_core.stylegan2.ada.augmentation import CLASSES, DEFAULT_CLASSES, Augmentation
from models_core.stylegan2.ada.strength import Strength

__all__ = ["CLASSES", "DEFAULT_CLASSES", "Augmentation", "Strength"]
