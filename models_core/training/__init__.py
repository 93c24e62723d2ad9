"""One explicit training loop per model, and the run folder they share."""
