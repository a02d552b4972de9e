"""Which slices of which parameters belong to the units of a group, and sums over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from torch import Tensor

from evoprune.channels.importance.base import Scores
from evoprune.space.groups import Group, Member
from evoprune.space.pruning_space import PruningSpace


def everything(group: Group, parameters: Mapping[str, Tensor]) -> list[Member]:
    """All slices of parameters that go with the units; statistics are none."""
    return [member for member in group.members if member.tensor in parameters]


def producing(space: PruningSpace, group: Group, parameters: Mapping[str, Tensor]) -> list[Member]:
    """Slices that produce the units: weights, biases, scales and shifts, but not what reads them.

    Where one tensor does both, as a tied embedding does, it counts.
    """
    members = everything(group, parameters)
    return [member for member in members if (member.tensor, member.dim) not in space.consumers] or members


def kernels(space: PruningSpace, group: Group, parameters: Mapping[str, Tensor]) -> list[Member]:
    """The weights among what produces the units, without biases, scales and shifts where there is anything else."""
    members = producing(space, group, parameters)
    return [member for member in members if parameters[member.tensor].dim() > 1] or members


def unit_sums(group: Group, member: Member, values: Tensor) -> Scores:
    """Sum the elements of a tensor over each unit's slice of it.

    Args:
        group: The member's group.
        member: Slice of a parameter, with the unit of each position.
        values: A tensor of the member's shape.

    Returns:
        [group.size] float64.
    """
    other = [dim for dim in range(values.dim()) if dim != member.dim]
    wide = values.detach().double()
    along = (wide.sum(other) if other else wide).cpu().numpy()
    return np.bincount(member.unit, weights=along[member.index], minlength=group.size).astype(np.float64)


def produced_sums(space: PruningSpace, values: Mapping[str, Tensor]) -> Scores:
    """Sum a value per parameter element over all that produces each unit.

    Args:
        space: Pruning space that holds the units.
        values: `{parameter: tensor of its shape}` for every parameter.

    Returns:
        [space.size] float64.
    """
    return per_group(
        space,
        lambda group: np.sum(
            [unit_sums(group, one, values[one.tensor]) for one in producing(space, group, values)], axis=0
        ),
    )


def per_group(space: PruningSpace, score: Callable[[Group], Scores]) -> Scores:
    """The scores of all groups, one after the other: [space.size]."""
    return joined(score(group) for group in space.groups)


def joined(parts: Iterable[Scores]) -> Scores:
    """One array of all parts; none makes an empty one."""
    return np.concatenate([np.zeros(0), *parts])
