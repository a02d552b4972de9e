"""What a search begins with: the cut of every criterion, global and uniform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from evoprune.channels.orders import Orders
from evoprune.channels.prunable_groups import Bits, PrunableGroups
from evoprune.genome import BitGenome
from evoprune.plan import PruningPlan
from evoprune.space.budget import Budget, PlannedCost
from evoprune.space.widths import Counts

SHARES: Final = (0.7, 0.02)
"""Largest and smallest share of a cost that a front begins with, where there is no budget."""


@runtime_checkable
class Seeded(Protocol):
    """An encoding that can say what a criterion would choose."""

    @property
    def prunable(self) -> PrunableGroups:
        """The groups that it chooses in."""

    @property
    def orders(self) -> Orders:
        """Order of the units by each criterion."""

    def by_criterion(self, widths: Counts, criterion: str) -> BitGenome:
        """The valid genome closest to some widths, filled by one criterion: [groups] widths above 0."""


@runtime_checkable
class Continued(Protocol):
    """An encoding that can go on from what another one chose."""

    @property
    def prunable(self) -> PrunableGroups:
        """The groups that it chooses in."""

    def by_units(self, bits: Bits) -> BitGenome:
        """The valid genome closest to a choice of units: [units of the groups] bool, at least one of each group."""

    def decode(self, genome: BitGenome) -> PruningPlan:
        """The plan of a repaired genome."""

    def widths(self, genome: BitGenome) -> Mapping[str, int]:
        """Units that each group keeps, by its name."""


def at_budget(encoding: Seeded) -> dict[str, BitGenome]:
    """The cuts of all criteria that use up the encoding's budget, by names such as `taylor global`."""
    groups, budget = encoding.prunable, encoding.prunable.projection.budget
    return {
        f"{name} {scope}": encoding.by_criterion(_widths(groups, scores, budget, scope), name)
        for name, scores in _scored(encoding)
        for scope in ("global", "uniform")
    }


def at_widths(encoding: Continued, orders: Orders, widths: Counts) -> dict[str, BitGenome]:
    """What each criterion would keep at given widths, by its name; without those that the budget doesn't take as they are.

    Args:
        encoding: Says which genome stands for a choice.
        orders: Order of the units by each criterion.
        widths: [groups] widths.
    """
    groups, found = encoding.prunable, {}
    for name in orders.names:
        bits = groups.projection.bits(widths, groups.in_order(orders.of(name)[groups.positions]))
        genome = encoding.by_units(bits)
        if dict(encoding.widths(genome)) == groups.named(widths):
            found[name] = genome
    return found


def along_a_front(encoding: Seeded, cost: PlannedCost, count: int) -> dict[str, BitGenome]:
    """Cuts of all criteria in turn, by names such as `taylor global 12.5 %`, from a slight one to a deep one.

    Their shares of a cost are spaced evenly on a log scale.

    Args:
        encoding: Says what criteria choose.
        cost: Predicts the cost.
        count: Number of cuts.
    """
    groups = encoding.prunable
    dense = float(np.asarray(cost(groups.whole(np.ones((1, len(groups.positions)), dtype=np.bool_))))[0])
    least = float(
        np.asarray(cost(groups.whole(groups.projection.bits(groups.widths.least, groups.unordered)[None])))[0]
    )
    chosen = [(name, scores, scope) for scope in ("global", "uniform") for name, scores in _scored(encoding)]
    found = {}
    for number, share in enumerate(np.geomspace(*SHARES, num=count)):
        name, scores, scope = chosen[number % len(chosen)]
        budget = Budget({"cost": cost}, {"cost": max(share * dense, least)})
        found[f"{name} {scope} {100 * share:.4g} %"] = encoding.by_criterion(
            _widths(groups, scores, budget, scope), name
        )
    return found


def _scored(encoding: Seeded) -> Iterator[tuple[str, NDArray[np.float64]]]:
    for name in encoding.orders.names:
        yield name, encoding.orders.of(name)[encoding.prunable.positions]


def _widths(groups: PrunableGroups, scores: NDArray[np.float64], budget: Budget, scope: str) -> Counts:
    """[groups] widths of the most units that a criterion can keep within the budget, one of each group at least."""
    sizes = groups.widths.sizes
    if scope == "uniform":
        places = (groups.in_order(scores) + 0.5) / np.repeat(sizes, sizes)
        order = np.argsort(places, kind="stable")
    else:
        first = groups.in_order(scores) == 0
        order = np.lexsort((np.arange(len(scores)), -scores, ~first))
    low, high = len(sizes), len(order) + 1
    while high - low > 1:
        middle = (low + high) // 2
        keeps = budget.keeps(groups.whole(_first(order, middle)[None]))[0]
        low, high = (middle, high) if keeps else (low, middle)
    return np.maximum(groups.counts(_first(order, low)), 1)


def _first(order: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    bits = np.zeros(len(order), dtype=np.bool_)
    bits[order[:count]] = True
    return bits
