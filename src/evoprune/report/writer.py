"""Draws a run's figures when its numbers are in."""

from __future__ import annotations

import json
from pathlib import Path

from evoprune.events import Event, RunEnded
from evoprune.report.plots import EVOLUTION, FRONT, draw_evolution, draw_front, read_evaluations


def write_report(directory: Path) -> None:
    """Draw the figures of a finished run into its directory."""
    evaluations = read_evaluations(directory)
    comparison = json.loads((directory / "comparison.json").read_text(encoding="utf-8"))
    draw_evolution(evaluations, directory / EVOLUTION)
    dense = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))["dense"]
    draw_front(evaluations, comparison, dense["accuracy"], directory / FRONT)


def report_listener(event: Event) -> None:
    """Write the report when a run ends."""
    if isinstance(event, RunEnded):
        write_report(Path(event.directory))
