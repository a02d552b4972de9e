"""Baseline against pruned, layer by layer, and method against method, as rows of text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune.report.run_files import read_comparison

ROWS = (
    ("accuracy", "test accuracy", "percent"),
    ("params", "parameters", "count"),
    ("nonzero_params", "nonzero parameters", "count"),
    ("sparsity", "sparsity of weights", "percent"),
    ("macs", "MACs", "count"),
    ("size_bytes", "size on disk", "bytes"),
    ("peak_activation_bytes", "peak activation memory", "bytes"),
    ("latency_ms", "latency, one sample", "ms"),
)


def comparison_rows(
    comparison: Mapping[str, Any], models: tuple[str, str] = ("baseline", "pruned")
) -> list[tuple[str, str, str, str]]:
    """`(measure, one, other, change)` for every measure that both models have.

    Args:
        comparison: The document of `comparison.json`.
        models: Which two of its models.
    """
    before, after = (comparison[name] for name in models)
    return [
        (label, _text(before[key], kind), _text(after[key], kind), _change(before[key], after[key], kind))
        for key, label, kind in ROWS
        if key in before and key in after
    ]


def text_table(comparison: Mapping[str, Any], models: tuple[str, str] = ("baseline", "pruned")) -> str:
    """The rows as plain text in aligned columns."""
    rows = [("", *models, "change"), *comparison_rows(comparison, models)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def layer_rows(comparison: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """`(layer, weights, kept, sparsity)` of each layer of a mask run, and of all together; none for a run of channels.

    A layer of several weight tensors, such as attention, has a row for each.
    """
    layers = comparison.get("layers", [])
    names = [one["layer"] for one in layers]
    rows = [
        (
            str(one["layer"] if names.count(one["layer"]) == 1 else one["name"]),
            f"{one['weights']:,}",
            f"{one['kept']:,}",
            _text(one["sparsity"], "percent"),
        )
        for one in layers
    ]
    if len(layers) > 1:
        weights, kept = (sum(one[key] for one in layers) for key in ("weights", "kept"))
        rows.append(("all", f"{weights:,}", f"{kept:,}", _text(1 - kept / weights, "percent")))
    return rows


@dataclass(frozen=True)
class MethodRow:
    """One row of a comparison of methods.

    Attributes:
        method: What made the model.
        accuracy: On test, 0 to 1.
        kept: Parameters that are there and not zero.
        params: Parameters of the dense network.
        sparsity: Fraction of zeros among all prunable weights, 0 to 1; None where nothing was masked.
    """

    method: str
    accuracy: float
    kept: int
    params: int
    sparsity: float | None


def method_rows(runs: Mapping[str, Path | str]) -> list[MethodRow]:
    """The dense network of the first run, then the finished model of each.

    Args:
        runs: `{method: run directory}`, all of the same dense network and test set.

    Raises:
        UsageError: A directory holds no finished run.
        StoreCorruptedError: A file of one is damaged.
    """
    rows: list[MethodRow] = []
    for method, directory in runs.items():
        comparison = read_comparison(Path(directory))
        dense, pruned = comparison["baseline"], comparison["pruned"]
        if not rows:
            rows.append(MethodRow("dense", dense["accuracy"], dense["params"], dense["params"], None))
        kept = pruned.get("nonzero_params", pruned["params"])
        rows.append(MethodRow(method, pruned["accuracy"], kept, dense["params"], pruned.get("sparsity")))
    return rows


def method_table(rows: Iterable[MethodRow]) -> str:
    """The rows as a Markdown table: method, accuracy, parameters kept, sparsity."""
    cells = [("method", "test accuracy", "parameters kept", "of the dense network's", "sparsity of weights")]
    for row in rows:
        sparsity = "-" if row.sparsity is None else _text(row.sparsity, "percent")
        share = _text(row.kept / row.params, "percent") if row.params else "-"
        cells.append((row.method, _text(row.accuracy, "percent"), f"{row.kept:,}", share, sparsity))
    return _markdown(cells)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = [f"| {' | '.join(map(_as_text, row))} |" for row in rows]
    return "\n".join([head, "|---|" + "--:|" * (len(rows[0]) - 1), *body])


def _as_text(cell: str) -> str:
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
