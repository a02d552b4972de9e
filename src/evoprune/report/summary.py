"""Baseline against pruned, layer by layer, and method against method, as rows of text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evoprune.errors import UsageError
from evoprune.report.timing_rows import TIMING_HEADINGS, TIMING_TITLE, timing_notes, timing_rows
from evoprune.results import ACCURACY, MetricCard
from evoprune.store.comparison import Comparison, CriterionFigures, read_comparison

ROWS = (
    ("params", "parameters", "count"),
    ("nonzero_params", "nonzero parameters", "count"),
    ("sparsity", "sparsity of weights", "percent"),
    ("macs", "MACs", "count"),
    ("size_bytes", "size on disk", "bytes"),
    ("peak_activation_bytes", "peak activation memory", "bytes"),
    ("latency_ms", "latency, one sample", "ms"),
)
KNOWN = frozenset({"accuracy", *(key for key, _, _ in ROWS)})
"""Figures with a row of their own; those of other objectives follow under their names."""


def comparison_rows(
    comparison: Comparison, models: tuple[str, str] = ("baseline", "pruned")
) -> list[tuple[str, str, str, str]]:
    """`(measure, one, other, change)` for every measure that both models have.

    Args:
        comparison: Comparison of a run or a fine-tuning.
        models: Names of two of its models.
    """
    before, after = (comparison.model(name).figures for name in models)
    metric, one, other = comparison.metric, before["accuracy"], after["accuracy"]
    first = (f"test {metric.name}", metric.text(one), metric.text(other), metric.change(one, other))
    return (
        [first]
        + [
            (label, _text(before[key], kind), _text(after[key], kind), _change(before[key], after[key], kind))
            for key, label, kind in ROWS
            if key in before and key in after
        ]
        + [_other_row(key, before[key], after[key]) for key in before if key in after and key not in KNOWN]
    )


def _other_row(name: str, before: float, after: float) -> tuple[str, str, str, str]:
    """The row of an objective of no name of ours, or of a latency that says how it is measured."""
    kind, at, how = name.partition("@")
    if kind == "latency_ms" and at:
        options = (option.partition("=") for option in how.split(","))
        label = ", ".join(["latency", *(value if key == "runtime" else f"{key} {value}" for key, _, value in options)])
        return label, _text(before, "ms"), _text(after, "ms"), _change(before, after, "ms")
    return name, f"{before:,.4g}", f"{after:,.4g}", _change(before, after, "number")


def text_table(comparison: Comparison, models: tuple[str, str] = ("baseline", "pruned")) -> str:
    """The rows as plain text in aligned columns, with the times of a forward pass below."""
    lines = [*_aligned([("", *models, "change"), *comparison_rows(comparison, models)]), *notes(comparison)]
    timed = timing_rows(comparison)
    if timed and models == ("baseline", "pruned"):
        lines += ["", TIMING_TITLE, *_aligned([TIMING_HEADINGS, *(row for row, _ in timed)]), *timing_notes(comparison)]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in rows
    ]
    return ["  ".join(line).rstrip() for line in lines]


def notes(comparison: Comparison) -> list[str]:
    """What to know about the rows, a line each."""
    uncounted, rival = comparison.uncounted, comparison.criterion
    lines = [f"MACs leave out {', '.join(uncounted)}: there is no formula"] if uncounted else []
    return lines if rival is None else [*lines, _against(rival, comparison)]


def _against(rival: CriterionFigures, comparison: Comparison) -> str:
    """What evolution gained over the best criterion, whichever sign."""
    if rival.model.genome is not None and rival.model.genome == comparison.pruned.genome:
        return f"the chosen network is the cut of {rival.name}, the best criterion: evolution found no better one"
    metric = comparison.metric
    error = rival.standard_error
    spread = "" if error is None else f" ± {metric.change(0, error).lstrip('+')}"
    value = metric.text(rival.model.accuracy)
    return f"evolved - best criterion = {metric.change(0, rival.gain)}{spread} ({rival.name}, trained alike: {value})"


def layer_rows(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """`(layer, weights, kept, sparsity)` of each layer of a mask run, and of all together; none for a run of channels.

    A layer of several weight tensors, such as attention, has a row for each.
    """
    layers = comparison.layers
    names = [one.layer for one in layers]
    rows = [
        (
            one.layer if names.count(one.layer) == 1 else one.name,
            f"{one.weights:,}",
            f"{one.kept:,}",
            _text(one.sparsity, "percent"),
        )
        for one in layers
    ]
    if len(layers) > 1:
        weights, kept = sum(one.weights for one in layers), sum(one.kept for one in layers)
        rows.append(("all", f"{weights:,}", f"{kept:,}", _text(1 - kept / weights, "percent")))
    return rows


@dataclass(frozen=True)
class MethodRow:
    """One row of a comparison of methods.

    Attributes:
        method: Name of the method that made the model.
        accuracy: The metric on test.
        kept: Parameters that are there and not zero.
        params: Parameters of the dense network.
        sparsity: Fraction of zeros among all prunable weights, 0 to 1; None where nothing was masked.
        metric: Describes the values of `accuracy`.
    """

    method: str
    accuracy: float
    kept: int
    params: int
    sparsity: float | None
    metric: MetricCard = ACCURACY


def method_rows(runs: Mapping[str, Path | str]) -> list[MethodRow]:
    """The dense network of the first run, then the finished model of each.

    Args:
        runs: `{method: run directory}`, all of the same dense network and test set.

    Raises:
        UsageError: A directory holds no finished run, or runs are judged by different metrics.
        StoreCorruptedError: A file of one is damaged.
    """
    rows: list[MethodRow] = []
    for method, directory in runs.items():
        comparison = read_comparison(Path(directory))
        dense, pruned, metric = comparison.baseline, comparison.pruned, comparison.metric
        if not rows:
            rows.append(MethodRow("dense", dense.accuracy, dense.params, dense.params, None, metric))
        if metric != rows[0].metric:
            raise UsageError(
                f"{directory} is judged by {metric.name}, the runs before it by {rows[0].metric.name}",
                "compare runs of one metric",
            )
        kept = int(pruned.figures.get("nonzero_params", pruned.params))
        rows.append(MethodRow(method, pruned.accuracy, kept, dense.params, pruned.figures.get("sparsity"), metric))
    return rows


def method_table(rows: Iterable[MethodRow]) -> str:
    """The rows as a Markdown table: method, metric on test, parameters kept, sparsity."""
    rows = list(rows)
    name = rows[0].metric.name if rows else ACCURACY.name
    cells = [("method", f"test {name}", "parameters kept", "of the dense network's", "sparsity of weights")]
    for row in rows:
        sparsity = "-" if row.sparsity is None else _text(row.sparsity, "percent")
        share = _text(row.kept / row.params, "percent") if row.params else "-"
        cells.append((row.method, row.metric.text(row.accuracy), f"{row.kept:,}", share, sparsity))
    return markdown_table(cells)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as a Markdown table, the first one as its head; no cell is read as Markdown or HTML."""
    head, *body = [f"| {' | '.join(map(as_text, row))} |" for row in rows]
    return "\n".join([head, "|---|" + "--:|" * (len(rows[0]) - 1), *body])


def as_text(cell: str) -> str:
    """A cell in which no character means anything to Markdown, HTML or a formula."""
    flat = html.escape(" ".join(cell.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|$~])", r"\\\1", flat)


def _text(value: float, kind: str) -> str:
    if kind == "percent":
        return f"{100 * value:.2f} %"
    if kind == "ms":
        return f"{value:.3f} ms"
    if kind == "bytes":
        return f"{value / 1000:,.1f} kB"
    return f"{value:,.0f}"


def _change(before: float, after: float, kind: str) -> str:
    if kind == "percent":
        return f"{100 * (after - before):+.2f} points"
    return f"{100 * (after / before - 1):+.1f} %" if before else "-"
