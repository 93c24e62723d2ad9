"""How good generated pictures are: one file a metric, features in one place."""
