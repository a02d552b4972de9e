"""Two groups made one: what must be cut together because the model's code works out one width from the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import gcd

import numpy as np
from numpy.typing import NDArray

from evoprune.space.groups import Axis, Group, Member
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.workload import Extent


def tied(space: PruningSpace, first: str, second: str) -> PruningSpace | None:
    """`space` with two groups as one, which has as many units as divide both evenly; None where that is a single unit.

    A unit of it is so many neighbouring units of each: a head, and the channels of the residual connection that are its share.

    Args:
        space: Pruning space that has both.
        first: Name of the group that the other joins.
        second: Name of the other.
    """
    pair = [space.group(name) for name in (first, second)]
    pair.sort(key=lambda group: group.start)
    units = gcd(*(group.size for group in pair))
    if units < 2:
        return None
    per_unit = {group.name: group.size // units for group in pair}
    head, other = pair
    joined = replace(
        head,
        size=units,
        members=_members(pair, per_unit),
        constraint=f"at least 1 of {units} stays; {other.name} goes in step",
        layers=tuple(dict.fromkeys((*head.layers, *other.layers))),
    )
    groups, start = [], 0
    for group in space.groups:
        if group.name != other.name:
            kept = joined if group.name == head.name else group
            groups.append(replace(kept, start=start))
            start += kept.size
    single = {head.name if name == other.name else name for name in space.single_sided}
    names = {other.name: head.name}
    work = replace(
        space.workload,
        extents=tuple(_extent(extent, per_unit, head.name) for extent in space.workload.extents),
        guards={names.get(name, name): why for name, why in space.workload.guards.items()},
    )
    return replace(space, groups=tuple(groups), single_sided=frozenset(single), workload=work)


def _members(pair: list[Group], per_unit: Mapping[str, int]) -> tuple[Member, ...]:
    parts: dict[Axis, list[Member]] = {}
    for group in pair:
        for member in group.members:
            unit = (member.unit // per_unit[group.name]).astype(np.int32)
            parts.setdefault((member.tensor, member.dim), []).append(replace(member, unit=unit))
    return tuple(_joined(found) for found in parts.values())


def _joined(parts: list[Member]) -> Member:
    if len(parts) == 1:
        return parts[0]
    index, unit = (np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "unit"))
    order = np.argsort(index, kind="stable")
    return replace(parts[0], index=index[order], unit=unit[order])


def _extent(extent: Extent, per_unit: Mapping[str, int], name: str) -> Extent:
    parts = [(group, counts) for group, counts in extent.parts if group not in per_unit]
    summed: NDArray[np.int32] | None = None
    for group, counts in extent.parts:
        if group in per_unit:
            several = per_unit[group]
            each = counts * several if len(counts) == 1 else counts.reshape(-1, several).sum(axis=1)
            summed = each if summed is None else summed + each
    if summed is None:
        return extent
    return Extent(extent.size, (*parts, (name, summed.astype(np.int32))))
