"""Measured latency, with its spread where it was kept, and what the search predicted."""

from __future__ import annotations

from dataclasses import dataclass

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import shown
from evoprune.space.latency_table import LatencyTable
from evoprune.store.comparison import ModelFigures


@dataclass(frozen=True)
class Timing:
    """One network's latency.

    Attributes:
        network: Which one.
        kind: Class in the style sheet.
        median: Length of its bar, per cent of the longest.
        text: `0.099 ms`.
        change: Against the dense network.
    """

    network: str
    kind: str
    median: float
    text: str
    change: str


@dataclass(frozen=True)
class Setting:
    """Latencies under the same conditions."""

    title: str
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Latency:
    """What the section shows."""

    settings: tuple[Setting, ...]
    tables: tuple[str, ...]
    notes: tuple[str, ...]


def latency_of(facts: RunFacts) -> Section | None:
    """Latencies of the finished networks."""
    comparison = facts.comparison
    models = [("dense", "dense", comparison.baseline), ("evolved", "evolved", comparison.pruned)]
    rival = comparison.criterion
    if rival is not None and rival.model.genome != comparison.pruned.genome:
        models.append((f"best criterion ({shown(rival.name)})", "criterion", rival.model))
    names = [name for name in comparison.pruned.figures if name.partition("@")[0] == "latency_ms"]
    settings = tuple(_setting(name, models) for name in names if name in comparison.baseline.figures)
    if not settings:
        return None
    tables = tuple(_table(one) for one in facts.latency)
    notes = (
        "Medians of repeated passes, the networks by turns, so that whatever else the machine does falls on all alike.",
    )
    return Section("latency", "Measured latency", Latency(settings, tables, notes), "latency")


def _setting(name: str, models: list[tuple[str, str, ModelFigures]]) -> Setting:
    known = [(title, kind, one.figures[name]) for title, kind, one in models if name in one.figures]
    longest, dense = max(value for _, _, value in known), known[0][2]
    timings = tuple(
        Timing(
            title,
            kind,
            round(100 * value / longest, 1) if longest else 0.0,
            f"{value:.3f} ms",
            f"{100 * (value / dense - 1):+.1f} %" if kind != "dense" and dense else "",
        )
        for title, kind, value in known
    )
    how = name.partition("@")[2]
    return Setting(how.replace(",", ", ").replace("=", " ") if how else "one sample", timings)


def _table(table: LatencyTable) -> str:
    how, check = table.conditions, table.check
    return shown(
        f"Predicted by a table of layers timed on {how.processor}, batch {how.batch}, {how.threads} threads, {how.runtime}: "
        f"{100 * check.median:.1f} % off in the middle, {100 * check.worst:.1f} % at worst, over {len(check.errors)} networks.",
        300,
    )
