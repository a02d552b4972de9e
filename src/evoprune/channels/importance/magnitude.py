"""Criteria `l1` and `l2`: the norm of what produces a unit."""

from __future__ import annotations

import numpy as np

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.channels.importance.slices import kernels, per_group, unit_sums
from evoprune.nn_utils.prune_hooks import effective_parameters
from evoprune.space.groups import Group


def l1(examinee: Examinee) -> Scores:
    """Sum of absolute weights of a unit's filter; the mean over the layers where several produce it.

    Source:
        Li et al. 2017, Pruning Filters for Efficient ConvNets, section 3.1, arXiv:1608.08710.
    """
    return _norms(examinee, power=1)


def l2(examinee: Examinee) -> Scores:
    """Euclidean norm of a unit's filter; the mean over the layers where several produce it.

    Source:
        He et al. 2018, Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks, section 3.2, arXiv:1808.06866.
    """
    return _norms(examinee, power=2)


def _norms(examinee: Examinee, power: int) -> Scores:
    parameters = effective_parameters(examinee.model)

    def norms(group: Group) -> Scores:
        members = kernels(examinee.space, group, parameters)
        sums = [unit_sums(group, member, parameters[member.tensor].double().abs() ** power) for member in members]
        mean: Scores = np.mean([total ** (1 / power) for total in sums], axis=0)
        return mean

    return per_group(examinee.space, norms)
