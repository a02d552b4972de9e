"""MACs and parameters of plans, predicted for a whole population at once, without building or running anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evoprune.errors import InvalidPlanError, UnsupportedModelError
from evoprune.space.groups import Group
from evoprune.space.kept_lengths import Amounts, KeptLengths, totals
from evoprune.space.workload import Term, Workload

_COUNT_INSTEAD = "count the pruned model instead: evoprune.count(evoprune.prune(model, plan), example_inputs)"


@dataclass(frozen=True, eq=False)
class PlanCosts:
    """What plans cost, exactly as `evoprune.count` counts the pruned models.

    Attributes:
        macs: [...] int64 multiply-accumulates of one sample, one value per plan.
        params: [...] int64 parameters, shared ones once.
    """

    macs: Amounts
    params: Amounts


class CostModel:
    """A workload, compiled for evaluation.

    Args:
        groups: Groups of the space; what the workload says of others is taken as kept.
        workload: Terms that the costs are made of.
    """

    def __init__(self, groups: Sequence[Group], workload: Workload) -> None:
        self._groups, self._workload = groups, workload
        self._size = groups[-1].stop if groups else 0
        self._lengths = KeptLengths(groups, workload.extents)
        self._flops, self._params = self._compiled(workload.flops), self._compiled(workload.params)

    def costs(self, bits: ArrayLike) -> PlanCosts:
        """What choices cost.

        Args:
            bits: [..., size] bool or 0/1, one per unit; 1 keeps.

        Returns:
            The costs, of shape [...].

        Raises:
            InvalidPlanError: Wrong length, other values, or a group that keeps nothing.
            UnsupportedModelError: A choice cuts what the MACs depend on in a way that can't be predicted.
        """
        keep = self._checked(bits)
        self._check_groups(keep)
        extents = self._extents(keep)
        for number, reason in self._workload.minima.items():
            if self._workload.extents[number].size > 1 and (extents[..., number] == 1).any():
                raise UnsupportedModelError(reason, _COUNT_INSTEAD)
        return self._sums(extents)

    def shares(self) -> list[tuple[float | None, float]]:
        """Per group the fractions of all MACs and parameters that would go if all of it went; None where it can't be told."""
        rows = np.ones((len(self._groups) + 1, self._size), dtype=np.bool_)
        for row, group in enumerate(self._groups):
            rows[row, group.start : group.stop] = False
        found = self._sums(self._extents(rows))
        macs, params = (1 - amounts / np.maximum(1, amounts[-1]) for amounts in (found.macs, found.params))
        guarded = [group.name in self._workload.guards for group in self._groups]
        return [
            (None if guard else float(m), float(p)) for guard, m, p in zip(guarded, macs[:-1], params[:-1], strict=True)
        ]

    def _checked(self, bits: ArrayLike) -> NDArray[np.bool_]:
        given = np.asarray(bits)
        if given.ndim == 0 or given.shape[-1] != self._size:
            raise InvalidPlanError(f"{self._size} bits are needed per plan, one per unit, not {list(given.shape)}")
        if given.dtype != np.bool_ and not np.isin(given, (0, 1)).all():
            raise InvalidPlanError("bits must be 0 or 1")
        return given.astype(np.bool_, copy=False)

    def _check_groups(self, keep: NDArray[np.bool_]) -> None:
        if not self._groups:
            return
        starts = np.fromiter((group.start for group in self._groups), dtype=np.int64)
        kept = totals(keep, starts)
        empty = np.flatnonzero((kept == 0).reshape(-1, len(starts)).any(axis=0))
        if empty.size:
            raise InvalidPlanError(f"group {self._groups[empty[0]].name!r} would keep none of its units")
        for place, group in enumerate(self._groups):
            if group.name in self._workload.guards and (kept[..., place] < group.size).any():
                raise UnsupportedModelError(self._workload.guards[group.name], _COUNT_INSTEAD)

    def _extents(self, keep: NDArray[np.bool_]) -> Amounts:
        """[..., size] bits -> [..., extents + 1] lengths, the last one always 1."""
        lengths = self._lengths.of(keep)
        return np.concatenate([lengths, np.ones_like(lengths[..., :1])], axis=-1)

    def _sums(self, extents: Amounts) -> PlanCosts:
        flops, params = ((factors * extents[..., at].prod(-1)).sum(-1) for factors, at in (self._flops, self._params))
        # The very rounding of `count`.
        return PlanCosts(np.rint(flops / 2 / self._workload.samples).astype(np.int64), params)

    def _compiled(self, terms: Sequence[Term]) -> tuple[Amounts, Amounts]:
        """[terms] factors, and [terms, most extents] numbers of extents, filled up with that of the length 1."""
        width = max([1, *(len(term.extents) for term in terms)])
        one = len(self._workload.extents)
        numbers = [[*term.extents, *[one] * (width - len(term.extents))] for term in terms]
        return np.array([term.factor for term in terms], dtype=np.int64), np.array(numbers, dtype=np.int64).reshape(
            -1, width
        )
