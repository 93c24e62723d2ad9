"""StyleGAN2 written from the papers (Karras et al. 2019, 2020a, 2020b).

Parameter and buffer names follow the public StyleGAN2-ADA checkpoints, so their state
dictionaries load one to one.
"""

from models_core.stylegan2.discriminator import Discriminator
from models_core.stylegan2.generator import Generator

__all__ = ["Discriminator", "Generator"]
