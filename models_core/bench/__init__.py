"""How fast the models are on this machine, and what makes them faster."""
