"""Draws a finished run's figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

FIGURES: Final = ("ga_fitness_evolution.png", "pareto_front.png")


def write_report(directory: Path) -> None:
    """Draw the figures of a finished run into its directory."""
    # matplotlib takes half a second and 50 MB to import: not before there is something to draw.
    from evoprune.report.plots import draw_evolution, draw_front, read_evaluations

    evolution, front = FIGURES
    evaluations = read_evaluations(directory)
    comparison = json.loads((directory / "comparison.json").read_text(encoding="utf-8"))
    draw_evolution(evaluations, directory / evolution)
    dense = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))["dense"]
    draw_front(evaluations, comparison, dense["accuracy"], directory / front)


def ensure_report(directory: Path) -> None:
    """Draw the figures that are missing, whenever and however the run that should have drawn them ended."""
    if not all((directory / name).is_file() for name in FIGURES):
        write_report(directory)
