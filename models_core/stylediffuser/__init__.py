"""StyleDiffuser: a StyleGAN2 prototype supervising a Stable Diffusion."""
