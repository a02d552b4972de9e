"""Bars of what is kept and what is removed: groups of channels, layers of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import counted, share_text, shown

MOST_BARS: Final = 240
MOST_FROZEN: Final = 60


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        name: Name of the group or layer.
        before: Length of the whole bar, per cent of the longest.
        kept: What stays, per cent of the bar.
        figure: `8 of 32`.
        share: `25.0 %`.
        note: What else there is to say.
    """

    name: str
    before: float
    kept: float
    figure: str
    share: str
    note: str


@dataclass(frozen=True)
class Bars:
    """Bars in the order of the network."""

    lead: str
    bars: tuple[Bar, ...]
    more: int
    frozen: tuple[tuple[str, str], ...] = ()


def widths_of(facts: RunFacts) -> Section | None:
    """The winner's widths, a bar per group."""
    widths = facts.widths
    network = None if widths is None else widths.networks.get(facts.comparison.pruned.genome or "")
    if widths is None or network is None or not widths.groups:
        return None
    longest = max(group.size for group in widths.groups)
    bars = []
    for number, (group, width) in enumerate(zip(widths.groups, network.widths, strict=True)):
        others = [one for one in group.layers if one != group.name]
        criterion = f"chosen by {shown(network.criteria[number])}" if network.criteria and width < group.size else ""
        along = f"with {', '.join(map(shown, others[:3]))}{' …' if len(others) > 3 else ''}" if others else ""
        bars.append(_bar(group.name, width, group.size, longest, "; ".join(filter(None, [criterion, along]))))
    kept, units = sum(network.widths), sum(group.size for group in widths.groups)
    lead = f"{kept:,} of {counted(units, 'unit')} stay, in {counted(len(bars), 'group')} from input to output."
    frozen = tuple((shown(name), shown(reason, 200)) for name, reason in list(widths.frozen.items())[:MOST_FROZEN])
    return Section(
        "widths",
        "Widths before and after",
        Bars(lead, tuple(bars[:MOST_BARS]), max(0, len(bars) - MOST_BARS), frozen),
        "bars",
    )


def layers_of(facts: RunFacts) -> Section | None:
    """What stays of each layer of a mask run."""
    layers = facts.comparison.layers
    if not layers:
        return None
    names = [one.layer for one in layers]
    bars = tuple(
        _bar(
            one.layer if names.count(one.layer) == 1 else one.name,
            one.kept,
            one.weights,
            one.weights,  # sizes of layers go over magnitudes: bars are shares
            f"{100 * one.sparsity:.2f} % sparse",
        )
        for one in layers
    )
    kept, weights = sum(one.kept for one in layers), sum(one.weights for one in layers)
    sparse = f"{100 * (1 - kept / weights):.2f} % sparse" if weights else ""
    lead = f"{kept:,} of {counted(weights, 'weight')} stay: {sparse}."
    return Section("widths", "Sparsity by layer", Bars(lead, bars[:MOST_BARS], max(0, len(bars) - MOST_BARS)), "bars")


def _bar(name: str, kept: int, size: int, longest: int, note: str) -> Bar:
    return Bar(
        name=shown(name),
        before=round(100 * size / longest, 2) if longest else 0.0,
        kept=round(100 * kept / size, 2) if size else 0.0,
        figure=f"{kept:,} of {size:,}",
        share=share_text(kept, size) if size else "-",
        note=note,
    )
