"""What of a model may be pruned: found by following labels through one run, never by a list of architectures."""
