"""Budgets that a plan can be held to without building it: MACs, parameters, and whatever else is predicted from widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]
Amounts = NDArray[np.float64]

PlannedCost = Callable[[Bits], NDArray[Any]]
"""[plans, units] choices of a whole space -> [plans] costs; more units never cost less."""

_ROUNDING = 1e-9
"""Share of a limit that products of fractions may miss it by."""


@dataclass(frozen=True)
class Budget:
    """Upper limits on predicted costs.

    Attributes:
        costs: Predicts each cost that has a limit, by its name.
        limits: Limits in the costs' own units, by the same names.
    """

    costs: Mapping[str, PlannedCost]
    limits: Mapping[str, float]

    def __bool__(self) -> bool:
        return bool(self.limits)

    def use(self, bits: Bits) -> Amounts:
        """How much of the budget choices use: 1 where one limit is reached and none broken.

        Args:
            bits: [plans, units] choices; 1 keeps.

        Returns:
            [plans] the largest quotient of cost and limit.
        """
        shares = [np.asarray(self.costs[name](bits), dtype=np.float64) / limit for name, limit in self.limits.items()]
        used: Amounts = np.max(shares, axis=0)
        return used

    def keeps(self, bits: Bits) -> Bits:
        """[plans] whether choices keep every limit."""
        kept: Bits = self.use(bits) <= 1 + _ROUNDING
        return kept

    def broken_by(self, bits: Bits) -> dict[str, float]:
        """Costs of one choice, [units], that are above their limits."""
        found = {name: float(np.asarray(self.costs[name](bits[None]))[0]) for name in self.limits}
        return {name: value for name, value in found.items() if value > self.limits[name] * (1 + _ROUNDING)}
