"""Criterion `lamp`: magnitudes that compare across layers."""

from __future__ import annotations

import numpy as np

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.channels.importance.slices import kernels, per_group, unit_sums
from evoprune.nn_utils.prune_hooks import effective_parameters
from evoprune.space.groups import Group


def lamp(examinee: Examinee) -> Scores:
    """Squared magnitude of a unit's filters over that of all units of its group that are no smaller, itself included.

    The paper scores single weights within a layer; here units take the place of weights, and groups that of layers. The largest
    unit of every group scores 1, so that no group is emptied.

    Source:
        Lee et al. 2021, Layer-adaptive Sparsity for the Magnitude-based Pruning, section 3, arXiv:2010.07611.
    """
    parameters = effective_parameters(examinee.model)

    def scores(group: Group) -> Scores:
        members = kernels(examinee.space, group, parameters)
        squares = np.sum([unit_sums(group, one, parameters[one.tensor].double() ** 2) for one in members], axis=0)
        order = np.argsort(squares, kind="stable")
        survivors = np.cumsum(squares[order][::-1])[::-1]
        result = np.zeros(group.size)
        result[order] = np.divide(squares[order], survivors, out=np.zeros(group.size), where=survivors > 0)
        return result

    return per_group(examinee.space, scores)
