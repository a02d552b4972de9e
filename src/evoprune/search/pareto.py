"""Non-dominated points and the volume they cover."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def non_dominated(costs: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows that no other row beats in one cost without losing in another.

    Args:
        costs: [n, objectives], lower is better, finite. Of equal rows only the first counts.

    Returns:
        Indices of the front, [m], sorted by the first cost.
    """
    order = np.lexsort(costs.T[::-1])
    front: list[int] = []
    for row in order:
        kept = costs[front]
        if not np.any(np.all(kept <= costs[row], axis=1)):
            front.append(int(row))
    return np.array(front, dtype=np.int64)


def hypervolume_2d(costs: NDArray[np.float64], reference: tuple[float, float]) -> float:
    """Area between a two-objective front and a reference point that is worse in both.

    Args:
        costs: [n, 2], lower is better.
        reference: The worst corner; points beyond it count nothing.
    Source:
        Zitzler and Thiele 1998; in two dimensions a sweep along the sorted front is exact.
    """
    inside = costs[np.all(costs < np.array(reference), axis=1)]
    if len(inside) == 0:
        return 0.0
    front = inside[non_dominated(inside)]
    ceilings = np.concatenate([[reference[1]], front[:-1, 1]])
    return float(np.sum((reference[0] - front[:, 0]) * (ceilings - front[:, 1])))


def hypervolume(costs: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Volume between a front of any number of objectives and a reference point that is worse in all of them.

    By slices along the last objective, each a volume of one dimension less: for some hundred points in up to four.

    Args:
        costs: [n, objectives], lower is better.
        reference: [objectives] worst corner; points beyond it count nothing.
    """
    inside = costs[np.all(costs < reference, axis=1)]
    if len(inside) == 0:
        return 0.0
    if costs.shape[1] == 1:
        return float(reference[0] - inside.min())
    if costs.shape[1] == 2:
        return hypervolume_2d(inside, (float(reference[0]), float(reference[1])))
    inside = inside[np.argsort(inside[:, -1], kind="stable")]
    ends = np.append(inside[1:, -1], reference[-1])
    return sum(
        (float(end) - float(row[-1])) * hypervolume(inside[: place + 1, :-1], reference[:-1])
        for place, (row, end) in enumerate(zip(inside, ends, strict=True))
        if end > row[-1]
    )
