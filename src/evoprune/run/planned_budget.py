"""The bounds of a run that candidates keep by construction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from evoprune.channels.size_cost import size_cost
from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint
from evoprune.space.budget import Budget, PlannedCost
from evoprune.space.counted_cost import CountedCost
from evoprune.space.latency_model import LatencyModel
from evoprune.space.latency_table import LatencyTable
from evoprune.space.pruning_space import PruningSpace


def planned_costs(
    space: PruningSpace, latencies: Mapping[str, LatencyTable] | None = None, model: nn.Module | None = None
) -> dict[str, PlannedCost]:
    """What can be predicted of choices in a space, by the names of objectives; for latencies, what they are at most.

    Args:
        space: Pruning space of the model.
        latencies: Latency tables, by the names of objectives.
        model: The dense network, for the bytes; None where these don't matter.
    """
    counted = CountedCost(space, "macs"), CountedCost(space, "params")
    timed = {name: LatencyModel(space.groups, table.rising).predict for name, table in (latencies or {}).items()}
    sizes = {} if model is None else {"size_bytes": size_cost(model, space)}
    return {**{one.name: one for one in counted if one.predictable}, **sizes, **timed}


def planned_budget(
    constraints: Sequence[Constraint],
    space: PruningSpace,
    costs: Mapping[str, PlannedCost] | None = None,
    dense: Mapping[str, float] | None = None,
) -> Budget:
    """The upper bounds on what can be predicted; other constraints are seen to when a candidate is measured.

    Args:
        constraints: Bounds of the run.
        space: Pruning space of the model.
        costs: Predicted costs by name; those of `planned_costs` when None.
        dense: What fractions refer to, by name; where it isn't given, the cost of everything.

    Raises:
        ConfigError: A lower bound on the same cost leaves nothing between the two.
    """
    known = planned_costs(space) if costs is None else costs
    everything = np.ones((1, space.size), dtype=np.bool_)
    bounded = {one.objective for one in constraints} & known.keys()
    whole = {name: float(known[name](everything)[0]) for name in bounded} | dict(dense or {})
    limits: dict[str, float] = {}
    for one in constraints:
        if one.at_most and one.objective in known:
            limit = one.limit(whole[one.objective])
            limits[one.objective] = min(limit, limits.get(one.objective, limit))
    for one in constraints:
        if not one.at_most and one.objective in limits:
            least = one.limit(whole[one.objective])
            if least > limits[one.objective]:
                raise ConfigError(
                    f"search.constraints contradict each other: {one.objective} is to be {least:,.6g} at least and "
                    f"{limits[one.objective]:,.6g} at most",
                    "leave one of them out",
                )
    return Budget({name: known[name] for name in limits}, limits)
