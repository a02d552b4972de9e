"""How long the networks take, as rows of text, and what to say where fewer multiply-accumulates save no time."""

from __future__ import annotations

from typing import Final

from evoprune.html_tables import html_table
from evoprune.store.comparison import Comparison
from evoprune.store.timings import PassTimes, TimedPass

TIMING_TITLE: Final = "ms of a forward pass: median ± half the interquartile range, p95"
TIMING_HEADINGS: Final = ("batch", "runtime", "baseline", "p95", "pruned", "p95", "change")

Row = tuple[str, ...]


def timing_rows(comparison: Comparison) -> list[tuple[Row, bool]]:
    """Cells of `TIMING_HEADINGS` for each pass that was timed, and whether it is slow; none of older runs."""
    passes = () if comparison.timings is None else comparison.timings.passes
    return [
        ((str(one.batch), _runtime(one), *_cells(one.baseline), *_cells(one.pruned), _change(one)), one.slow)
        for one in passes
    ]


def slow_notes(comparison: Comparison) -> list[str]:
    """Where fewer multiply-accumulates saved no time, and why, a line each."""
    lines: list[str] = []
    for one in () if comparison.timings is None else comparison.timings.passes:
        if one.slow:
            lines.append(f"batch {one.batch}, {_runtime(one)}: fewer MACs, but the time is {_change(one)}")
            lines += [f"- {why}" for why in one.why]
    return lines


def untimed_notes(comparison: Comparison) -> list[str]:
    """What was not timed, in a line."""
    left_out = {} if comparison.timings is None else comparison.timings.left_out
    return [f"not timed: {'; '.join(f'{name} ({reason})' for name, reason in left_out.items())}"] if left_out else []


def timing_notes(comparison: Comparison) -> list[str]:
    """All that is said below the rows."""
    return [*untimed_notes(comparison), *slow_notes(comparison)]


def timing_html(comparison: Comparison) -> str:
    """The rows and what is said below them, for notebooks; empty for older runs."""
    rows = [row for row, _ in timing_rows(comparison)]
    return html_table(TIMING_TITLE, TIMING_HEADINGS, rows, timing_notes(comparison)) if rows else ""


def _runtime(one: TimedPass) -> str:
    return one.runtime.partition(" ")[0]


def _cells(times: PassTimes) -> tuple[str, str]:
    return f"{_short(times.median_ms)} ±{_short(times.spread_ms / 2)}", _short(times.p95_ms)


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.3f}" if milliseconds < 10 else f"{milliseconds:.1f}"


def _change(one: TimedPass) -> str:
    before, after = one.baseline.median_ms, one.pruned.median_ms
    return f"{100 * (after / before - 1):+.1f} %" if before else "-"
