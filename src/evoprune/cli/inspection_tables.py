"""An inspection as tables on the terminal, or as plain text where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from evoprune.display.printable import printable
from evoprune.report.inspection import Inspection
from evoprune.report.remedies import remedies
from evoprune.results import ACCURACY, MetricCard

_SHOWN = 3

WIDTH = 120
"""Columns where there is no terminal to ask."""


def show(
    name: str,
    inspection: Inspection,
    dense_accuracy: float | None,
    notes: Sequence[str],
    metric: MetricCard = ACCURACY,
) -> None:
    """Print what can be pruned, what can't, and what it costs."""
    console = new_console()
    for note in notes:
        console.print(f"note: {printable(note)}", markup=False)
    if dense_accuracy is not None:
        console.print(
            f"{printable(metric.name)} of the whole model on the select set: {metric.line(dense_accuracy)}",
            markup=False,
        )
    console.print(_groups(name, inspection, metric))
    if any(row.macs_share is not None for row in inspection.groups):
        console.print(
            "MACs and parameters: what would go if all of the group went; work between two groups is in both shares."
        )
    if inspection.frozen:
        console.print(_frozen(inspection))
        for remedy, layers in remedies(inspection.frozen):
            console.print(f"to free {printable(_some(layers))}: {printable(remedy)}", markup=False)
    console.print(_costs(inspection))
    if inspection.dense.uncounted:
        names = printable(", ".join(inspection.dense.uncounted))
        console.print(f"MACs leave out {names}: there is no formula.", markup=False)
    for reason in inspection.unpredictable:
        console.print(
            f"MACs can't be predicted for every plan, and are counted there: {printable(reason)}", markup=False
        )


def new_console() -> RichConsole:
    """A console for tables: as wide as the terminal, or of `WIDTH` columns."""
    console = RichConsole(highlight=False)
    return console if console.is_terminal else RichConsole(highlight=False, width=WIDTH)


def _groups(name: str, inspection: Inspection, metric: MetricCard) -> Table:
    groups = len(inspection.groups)
    title = f"{name}: {inspection.units:,} units in {groups} {'group' if groups == 1 else 'groups'} can be pruned"
    with_losses = any(row.accuracy_lost is not None for row in inspection.groups)
    loss = printable(f"{metric.name} lost at half" if metric.maximize else f"rise of {metric.name} at half")
    headings = [
        "group",
        "units",
        "MACs",
        "parameters",
        *([loss] if with_losses else []),
        "constraint",
    ]
    table = new_table(title, headings, right=("units", "MACs", "parameters", loss))
    for row in inspection.groups:
        share = "?" if row.macs_share is None else f"{row.macs_share:.1%}"
        lost = [] if row.accuracy_lost is None else [_signed(row.accuracy_lost, metric)]
        more = f" (and {len(row.layers) - 1} more layers)" if len(row.layers) > 1 else ""
        cells = [row.name + more, f"{row.size:,}", share, f"{row.params_share:.1%}", *lost, row.constraint]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _signed(value: float, metric: MetricCard) -> str:
    return f"{value:+.4f}" if metric.in_percent else f"{value:+.4g}"


def _frozen(inspection: Inspection) -> Table:
    table = new_table("can't be pruned", ["layer", "its output ..."])
    for name, reason in inspection.frozen:
        table.add_row(Text(printable(name)), Text(printable(reason)))
    return table


def _some(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - _SHOWN} more" if len(layers) > _SHOWN else ""
    return ", ".join(layers[:_SHOWN]) + more


def _costs(inspection: Inspection) -> Table:
    dense = inspection.dense
    table = new_table(
        "cost per sample", ["kept of every group", "MACs", "", "parameters", " "], right=("MACs", "", "parameters", " ")
    )
    table.add_row("all", f"{dense.macs:,}", "100.0%", f"{dense.params:,}", "100.0%")
    for one in inspection.outlooks:
        cells = (
            f"{one.macs:,}",
            f"{one.macs / max(1, dense.macs):.1%}",
            f"{one.params:,}",
            f"{one.params / max(1, dense.params):.1%}",
        )
        table.add_row(f"{one.keep_ratio:.0%}{' (counted)' if one.counted else ''}", *cells)
    return table


def new_table(title: str, headings: Sequence[str], right: Sequence[str] = ()) -> Table:
    """A table with these columns; those of `right` are aligned to the right."""
    table = Table(title=Text(printable(title)), title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    return table
