"""Baseline against pruned, as rows of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROWS = (
    ("accuracy", "test accuracy", "percent"),
    ("params", "parameters", "count"),
    ("macs", "MACs", "count"),
    ("size_bytes", "size on disk", "bytes"),
    ("peak_activation_bytes", "peak activation memory", "bytes"),
    ("latency_ms", "latency, one sample", "ms"),
)


def comparison_rows(comparison: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """`(measure, baseline, pruned, change)` for every measure that both models have.

    Args:
        comparison: The document of `comparison.json`.
    """
    baseline, pruned = comparison["baseline"], comparison["pruned"]
    return [
        (label, _text(baseline[key], kind), _text(pruned[key], kind), _change(baseline[key], pruned[key], kind))
        for key, label, kind in ROWS
        if key in baseline and key in pruned
    ]


def text_table(comparison: Mapping[str, Any]) -> str:
    """The rows as plain text in aligned columns."""
    rows = [("", "baseline", "pruned", "change"), *comparison_rows(comparison)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


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
