"""Writes `report.html` of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from evoprune.report.html.facts import RunFacts, read_facts
from evoprune.report.html.rendering import rendered
from evoprune.report.html.sections.agreement import agreement_of
from evoprune.report.html.sections.asked import asked_of
from evoprune.report.html.sections.bars import layers_of, widths_of
from evoprune.report.html.sections.base import Section, SectionOf
from evoprune.report.html.sections.cost import cost_of
from evoprune.report.html.sections.failures import failures_of
from evoprune.report.html.sections.fitness import fitness_of
from evoprune.report.html.sections.front import front_of
from evoprune.report.html.sections.latency import latency_of
from evoprune.report.html.sections.lineage import lineage_of
from evoprune.report.html.sections.mask_course import sparsity_of
from evoprune.report.html.sections.mask_steps import steps_of
from evoprune.report.html.sections.reproduce import reproduce_of
from evoprune.report.html.sections.result import result_of
from evoprune.report.html.sections.table import table_of
from evoprune.store.atomic import write_atomically
from evoprune.store.comparison import damage_told
from evoprune.store.run_directory import REPORT

OF_CHANNELS: Final[Sequence[SectionOf]] = (
    asked_of,
    table_of,
    front_of,
    fitness_of,
    widths_of,
    agreement_of,
    lineage_of,
    latency_of,
    failures_of,
    cost_of,
    reproduce_of,
)
OF_MASKS: Final[Sequence[SectionOf]] = (
    asked_of,
    table_of,
    sparsity_of,
    layers_of,
    steps_of,
    latency_of,
    failures_of,
    cost_of,
    reproduce_of,
)


def write_page(directory: Path) -> Path:
    """Write the page of a finished run into its directory; the same run gives the same page.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: A file of it is damaged.
    """
    path = directory / REPORT
    write_atomically(path, page_of(directory).encode())
    return path


def page_of(directory: Path) -> str:
    """The page as text."""
    facts = read_facts(directory)
    with damage_told(directory):
        return rendered(facts, result_of(facts), sections_of(facts))


def sections_of(facts: RunFacts) -> list[Section]:
    """The sections that the run has something for, in their order."""
    wanted = OF_CHANNELS if facts.comparison.steps is None else OF_MASKS
    return [section for make in wanted if (section := make(facts)) is not None]
