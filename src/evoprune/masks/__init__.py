"""Masks of single weights: what may be masked, in which structure, and how genomes name it."""
