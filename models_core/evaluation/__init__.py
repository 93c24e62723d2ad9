"""The comparison: StyleDiffuser against each of its halves alone, in one table."""
