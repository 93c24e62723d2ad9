"""Working in a generator's latent space: mixing, interpolation, projection, regions."""
