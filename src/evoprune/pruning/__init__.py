"""Applying a plan to a model, and proving that the result is right."""
