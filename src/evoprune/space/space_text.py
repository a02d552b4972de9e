"""A pruning space in words: what there is to choose from, on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evoprune.html_tables import html_table
from evoprune.space.groups import Frozen, Group

SHOWN: Final = 12
"""Groups that are listed as text."""


def space_text(groups: Sequence[Group], frozen: Sequence[Frozen]) -> str:
    """The number of units, the first groups, and how many layers are frozen."""
    lines = [f"  {group.name}: {group.size} units ({_kind(group)})" for group in groups[:SHOWN]]
    more = [f"  and {len(groups) - SHOWN} more groups"] if len(groups) > SHOWN else []
    return "\n".join([f"<pruning space: {_head(groups, frozen)}>", *lines, *more])


def space_html(groups: Sequence[Group], frozen: Sequence[Frozen]) -> str:
    """The groups as a table."""
    rows = [(group.name, f"{group.size:,}", _kind(group)) for group in groups]
    notes = [f"frozen: {one.name}: {one.reason}" for one in frozen[:SHOWN]]
    return html_table(f"pruning space: {_head(groups, frozen)}", ("group", "units", "kind"), rows, notes)


def _head(groups: Sequence[Group], frozen: Sequence[Frozen]) -> str:
    left = f", {len(frozen)} frozen (see frozen)" if frozen else ""
    return f"{sum(group.size for group in groups):,} units in {len(groups)} groups{left}"


def _kind(group: Group) -> str:
    others = len(group.layers) - 1
    return group.layer_type if others < 1 else f"{group.layer_type}, with {others} other layers"
