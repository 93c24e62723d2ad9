"""The data pipeline: collect, crop, write, read."""
