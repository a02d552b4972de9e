"""Draws a finished run's figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from evoprune.report.run_files import RunFiles

FIGURES: Final = ("ga_fitness_evolution.png", "pareto_front.png")
"""Of a run that removes channels."""
MASK_FIGURES: Final = (
    "ga_fitness_evolution.png",
    "sparsity_per_layer.png",
    "sparsity_and_accuracy.png",
    "layer_evolution.png",
)
"""Of a run of weight masks."""


def write_report(directory: Path) -> None:
    """Draw the figures of a finished run into its directory."""
    from evoprune.report.canvas import save_figure

    for name, figure in draw_figures(directory).items():
        save_figure(figure, directory / name)


def draw_figures(directory: Path) -> dict[str, Figure]:
    """All figures of a finished run, by the names of their files.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: A file of it is damaged.
    """
    from evoprune.report.run_files import damage_told, read_run

    run = read_run(directory)
    with damage_told(directory):
        return _of_masks(run) if run.has_masks else _of_channels(run)


def ensure_report(directory: Path) -> None:
    """Draw the figures that are missing, whenever and however the run that should have drawn them ended."""
    from evoprune.report.run_files import read_comparison

    comparison = read_comparison(directory)
    wanted = MASK_FIGURES if "steps" in comparison else FIGURES
    if not all((directory / name).is_file() for name in wanted):
        write_report(directory)


# matplotlib takes half a second and 50 MB to import: not before there is something to draw.


def _of_channels(run: RunFiles) -> dict[str, Figure]:
    from evoprune.report.plots import evolution_figure, front_figure

    evolution, front = FIGURES
    return {
        evolution: evolution_figure(run.evaluations),
        front: front_figure(run.evaluations, run.comparison, run.manifest["dense"]["accuracy"]),
    }


def _of_masks(run: RunFiles) -> dict[str, Figure]:
    from evoprune.report.course_plots import course_panels_figure, step_fitness_figure
    from evoprune.report.mask_plots import layer_sparsity_figure, sparsity_accuracy_figure

    fitness, layers, accuracy, panels = MASK_FIGURES
    steps = run.comparison["steps"]
    return {
        fitness: step_fitness_figure(run.evaluations, steps),
        layers: layer_sparsity_figure(run.comparison),
        accuracy: sparsity_accuracy_figure(run.comparison),
        panels: course_panels_figure(run.evaluations, steps),
    }
