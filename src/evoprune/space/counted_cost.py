"""MACs and parameters of plans as costs that a budget can limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UnsupportedModelError
from evoprune.space.pruning_space import PruningSpace

COUNTED: Final = ("macs", "params")


@dataclass(frozen=True, eq=False)
class CountedCost:
    """Predicts one cost of choices in a space, exactly as counting the pruned networks would.

    Attributes:
        space: Pruning space of the model.
        name: What is predicted.
    """

    space: PruningSpace
    name: Literal["macs", "params"]

    def __call__(self, bits: NDArray[np.bool_]) -> NDArray[np.float64]:
        """[plans] costs of [plans, units] choices; infinite for one whose MACs can't be predicted."""
        try:
            return self._of(bits)
        except UnsupportedModelError:
            if len(bits) == 1:
                return np.array([np.inf])
            return np.concatenate([self(row[None]) for row in bits])

    @property
    def predictable(self) -> bool:
        """Whether there is a prediction for cuts of all groups at once."""
        half = np.ones(self.space.size, dtype=np.bool_)
        for group in self.space.groups:
            half[group.start + (group.size + 1) // 2 : group.stop] = False
        return bool(np.isfinite(self(half[None])[0]))

    def _of(self, bits: NDArray[np.bool_]) -> NDArray[np.float64]:
        costs = self.space.cost(bits)
        return (costs.macs if self.name == "macs" else costs.params).astype(np.float64)
