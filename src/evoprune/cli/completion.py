"""What a shell offers to complete."""

from __future__ import annotations

from evoprune.plugins import known_names


def recipe_names(incomplete: str) -> list[str]:
    """Recipes whose names begin so."""
    return [name for name in known_names("recipes") if name.startswith(incomplete)]
