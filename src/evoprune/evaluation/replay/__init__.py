"""Replay: score masks from kept activations, computing only what depends on the masked weights."""
