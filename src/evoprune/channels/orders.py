"""Units in order of their importance, by several criteria."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Orders:
    """Scores of all units of a space by several criteria; of two units of a group, the one that scores higher stays longer.

    Attributes:
        names: Names of the criteria.
        scores: [criteria, units] float64.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float64]

    def of(self, name: str) -> NDArray[np.float64]:
        """[units] scores by one criterion."""
        scores: NDArray[np.float64] = self.scores[self.names.index(name)]
        return scores


def in_given_order(units: int) -> Orders:
    """Units in the order in which they are numbered: what there is before anything is known of them."""
    return Orders(("index",), -np.arange(units, dtype=np.float64)[None])
