"""Measured latency with its spread, why fewer MACs saved no time where they didn't, and what the search predicted by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import shown
from evoprune.report.timing_rows import untimed_notes
from evoprune.space.latency_table import LatencyTable
from evoprune.store.comparison import ModelFigures
from evoprune.store.timings import PassTimes, TimedPass, Timings

MOST_MEDIANS: Final = 2.5
"""Times the longer median that a picture is wide."""
ONE_SAMPLE: Final = "One sample, as in the comparison"


@dataclass(frozen=True)
class Timing:
    """One network's latency; lengths are in per cent of the longest.

    Attributes:
        network: Which one.
        kind: Class in the style sheet.
        median: Length of its bar.
        text: `0.099 ms`, or `0.099 ± 0.002 ms`.
        change: Against the dense network.
        whisker: Where the quarter below the median ends, and what 95 % of the passes stay below; None where it is not known.
        beyond: Whether the latter is beyond the picture.
        tip: What is shown of it, a line each.
    """

    network: str
    kind: str
    median: float
    text: str
    change: str
    whisker: tuple[float, float] | None = None
    beyond: bool = False
    tip: str = ""


@dataclass(frozen=True)
class Setting:
    """Latencies under the same conditions; `why` says why fewer MACs saved no time, and is empty where they did."""

    title: str
    timings: tuple[Timing, ...]
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Latency:
    """What the section shows."""

    settings: tuple[Setting, ...]
    tables: tuple[str, ...]
    notes: tuple[str, ...]


def latency_of(facts: RunFacts) -> Section | None:
    """Latencies of the finished networks."""
    comparison = facts.comparison
    timings = comparison.timings
    timed = () if timings is None else tuple(map(_timed, timings.passes))
    # What was timed has one sample in it, but not the best criterion's network.
    others = tuple(one for one in _figures(facts) if not timed or one.title != ONE_SAMPLE or len(one.timings) > 2)
    if not timed and not others:
        return None
    notes = [*_conditions(timings), *(shown(one, 300) for one in untimed_notes(comparison))]
    tables = tuple(_table(one) for one in facts.latency)
    return Section("latency", "Measured latency", Latency((*timed, *others), tables, tuple(notes)), "latency")


def _conditions(timings: Timings | None) -> list[str]:
    notes = ["The networks by turns, so that whatever else the machine does falls on all alike."]
    if timings is not None and timings.passes:
        where = f"{timings.processor}, {timings.device}, {timings.threads} {'thread' if timings.threads == 1 else 'threads'}"
        notes.insert(
            0,
            "Median ± half the interquartile range; the thin line ends at what 95 % of the passes stay below, or at the edge.",
        )
        notes.append(shown(f"Measured on {where}.", 200))
    return notes


def _timed(one: TimedPass) -> Setting:
    pair = (one.baseline, one.pruned)
    median = max(times.median_ms for times in pair)
    # On a busy machine the slowest passes take so long that nothing else could be seen.
    longest = max(median, min(MOST_MEDIANS * median, max(times.p95_ms for times in pair))) or 1.0
    runtime = shown(one.runtime)
    samples = "1 sample" if one.batch == 1 else f"{one.batch:,} samples"
    dense = _of_passes("dense", one.baseline, longest, "")
    change = f"{100 * (one.pruned.median_ms / one.baseline.median_ms - 1):+.1f} %" if one.baseline.median_ms else ""
    evolved = _of_passes("evolved", one.pruned, longest, change)
    why = (f"Fewer MACs, but the time is {change}.", *(shown(cause, 300) for cause in one.why)) if one.slow else ()
    return Setting(f"{samples}, {runtime}", (dense, evolved), why)


def _of_passes(network: str, times: PassTimes, longest: float, change: str) -> Timing:
    half = times.spread_ms / 2
    decimals = 3 if times.median_ms < 10 else 1
    median, spread, late = (f"{value:.{decimals}f}" for value in (times.median_ms, half, times.p95_ms))
    ends = (max(0.0, times.median_ms - half), max(times.p95_ms, times.median_ms))
    low, high = (round(min(100.0, 100 * end / longest), 1) for end in ends)
    return Timing(
        network=network,
        kind=network,
        median=round(100 * times.median_ms / longest, 1),
        text=f"{median} ± {spread} ms",
        change=change,
        whisker=(low, high),
        beyond=ends[1] > longest,
        tip=f"{network}\nmedian {median} ms\n95 % below {late} ms\n{times.passes:,} passes",
    )


def _figures(facts: RunFacts) -> list[Setting]:
    """Latencies that stand among the figures of the networks."""
    comparison = facts.comparison
    models = [("dense", "dense", comparison.baseline), ("evolved", "evolved", comparison.pruned)]
    rival = comparison.criterion
    if rival is not None and rival.model.genome != comparison.pruned.genome:
        models.append((f"best criterion ({shown(rival.name)})", "criterion", rival.model))
    names = [name for name in comparison.pruned.figures if name.partition("@")[0] == "latency_ms"]
    return [_setting(name, models) for name in names if name in comparison.baseline.figures]


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
    return Setting(shown(how.replace(",", ", ").replace("=", " ")) if how else ONE_SAMPLE, timings)


def _table(table: LatencyTable) -> str:
    how, check = table.conditions, table.check
    return shown(
        f"Predicted by a table of layers timed on {how.processor}, batch {how.batch}, {how.threads} threads, {how.runtime}: "
        f"{100 * check.median:.1f} % off in the middle, {100 * check.worst:.1f} % at worst, over {len(check.errors)} networks.",
        300,
    )
