"""Criterion `fpgm`: how far a filter is from what the others could stand in for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.channels.importance.slices import kernels, per_group
from evoprune.nn_utils.prune_hooks import effective_parameters
from evoprune.space.groups import Group, Member


def fpgm(examinee: Examinee) -> Scores:
    """Sum of Euclidean distances from a unit's filter to those of all other units of its group.

    A filter near the geometric median of its layer has the smallest sum, and the others can best stand in for it. The mean over
    the layers where several produce the units.

    Source:
        He et al. 2019, Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration, section 3.3,
        arXiv:1811.00250.
    """
    parameters = effective_parameters(examinee.model)

    def distances(group: Group) -> Scores:
        members = kernels(examinee.space, group, parameters)
        filters = (_filters(group, member, parameters[member.tensor]) for member in members)
        mean: Scores = np.mean([torch.cdist(one, one).sum(1).numpy() for one in filters], axis=0)
        return mean

    return per_group(examinee.space, distances)


def _filters(group: Group, member: Member, weight: Tensor) -> Tensor:
    """[units, elements] float64: each unit's slices side by side; zeros fill up where one has fewer."""
    rows = (
        weight.double().cpu().movedim(member.dim, 0).flatten(1) if weight.dim() > 1 else weight.double().cpu()[:, None]
    )
    order = np.argsort(member.unit, kind="stable")
    unit = member.unit[order].astype(np.int64)
    nth = np.arange(len(unit)) - np.searchsorted(unit, unit)
    slots = torch.zeros(group.size, int(nth.max()) + 1, rows.shape[1], dtype=torch.float64)
    slots[torch.from_numpy(unit), torch.from_numpy(nth)] = rows[torch.from_numpy(member.index[order].astype(np.int64))]
    return slots.flatten(1)
