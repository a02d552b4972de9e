"""The comparison table: dense, evolved and, where it was made, the best criterion's network."""

from __future__ import annotations

from dataclasses import dataclass, replace

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import shown
from evoprune.report.summary import comparison_rows, notes


@dataclass(frozen=True)
class Row:
    """One measure of all networks."""

    measure: str
    dense: str
    evolved: str
    change: str
    criterion: str
    criterion_change: str


@dataclass(frozen=True)
class Table:
    """The rows, the name of the criterion (empty without one), and what to know about them."""

    rows: tuple[Row, ...]
    criterion: str
    notes: tuple[str, ...]


def table_of(facts: RunFacts) -> Section:
    """The comparison table of a run."""
    comparison = facts.comparison
    rival = comparison.criterion
    theirs: dict[str, tuple[str, str]] = {}
    if rival is not None:
        against = replace(comparison, pruned=rival.model)
        theirs = {label: (value, change) for label, _, value, change in comparison_rows(against)}
    rows = tuple(
        Row(shown(label), dense, evolved, change, *theirs.get(label, ("-", "-")))
        for label, dense, evolved, change in comparison_rows(comparison)
    )
    said = [*notes(comparison), *_reads(facts)]
    return Section(
        "comparison", "Comparison", Table(rows, "" if rival is None else shown(rival.name), tuple(said)), "comparison"
    )


def _reads(facts: RunFacts) -> list[str]:
    reads = facts.manifest.test_set_reads
    if reads is None:
        return []
    return [
        f"The test set was read {'once' if reads == 1 else f'{reads} times'}: once for each network that is judged here."
    ]
