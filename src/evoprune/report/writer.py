"""Draws a finished run's figures, and writes its page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evoprune.report.front_table import has_wide_front
from evoprune.report.model_card import CARD, write_model_card
from evoprune.store.artifact import MODEL
from evoprune.store.claim import MANIFEST
from evoprune.store.comparison import Comparison, damage_told, read_comparison
from evoprune.store.event_log import read_hypervolumes
from evoprune.store.journal import JournalEntry, read_journal
from evoprune.store.manifest import read_manifest
from evoprune.store.run_directory import ARTIFACT, EVENTS, JOURNAL, REPORT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: Final = ("ga_fitness_evolution.png", "pareto_front.png")
"""Of a run that removes channels."""
MASK_FIGURES: Final = (
    "ga_fitness_evolution.png",
    "sparsity_per_layer.png",
    "sparsity_and_accuracy.png",
    "layer_evolution.png",
)
"""Of a run of weight masks."""


def write_report(directory: Path) -> Path:
    """Draw the figures of a finished run into its directory, and write its page; gives the path of the page.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: A file of it is damaged.
    """
    from evoprune.report.canvas import save_figure
    from evoprune.report.html.page import write_page

    for name, figure in draw_figures(directory).items():
        save_figure(figure, directory / name)
    return write_page(directory)


def draw_figures(directory: Path) -> dict[str, Figure]:
    """All figures of a finished run, by the names of their files.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: A file of it is damaged.
    """
    comparison, entries = read_comparison(directory), read_journal(directory / JOURNAL)
    with damage_told(directory):
        return (
            _of_channels(directory, comparison, entries) if comparison.steps is None else _of_masks(comparison, entries)
        )


def ensure_report(directory: Path) -> None:
    """Write figures, page and model card where one is missing, however the run that should have made them ended."""
    wanted = FIGURES if read_comparison(directory).steps is None else MASK_FIGURES
    if not all((directory / name).is_file() for name in (*wanted, REPORT)):
        write_report(directory)
    artifact = directory / ARTIFACT
    if (artifact / MODEL).is_file() and not (artifact / CARD).is_file():
        write_model_card(artifact, directory)


# matplotlib takes half a second and 50 MB to import: not before there is something to draw.


def _of_channels(directory: Path, comparison: Comparison, entries: Sequence[JournalEntry]) -> dict[str, Figure]:
    from evoprune.report.front_plots import front_figure
    from evoprune.report.plots import evolution_figure

    manifest = read_manifest(directory / MANIFEST)
    if manifest is None:
        raise ValueError(f"{MANIFEST} is not one of a run")
    hypervolumes = read_hypervolumes(directory / EVENTS) if has_wide_front(comparison) else {}
    evolution, front = FIGURES
    return {
        evolution: evolution_figure(entries, comparison.criterion, hypervolumes),
        front: front_figure(entries, comparison, manifest.dense),
    }


def _of_masks(comparison: Comparison, entries: Sequence[JournalEntry]) -> dict[str, Figure]:
    from evoprune.report.course_plots import course_panels_figure, step_fitness_figure
    from evoprune.report.mask_plots import layer_sparsity_figure, sparsity_accuracy_figure

    fitness, layers, accuracy, panels = MASK_FIGURES
    steps = [step.record for step in comparison.steps or ()]
    return {
        fitness: step_fitness_figure(entries, steps),
        layers: layer_sparsity_figure(comparison),
        accuracy: sparsity_accuracy_figure(comparison),
        panels: course_panels_figure(entries, steps, comparison.metric),
    }
