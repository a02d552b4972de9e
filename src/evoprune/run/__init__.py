"""Runs: one skeleton, two kinds of pruning, the loops between, and the factories that make them of settings."""
