"""What can be pruned from a model, what can't and why, and what is left to pay at a few keep ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from evoprune.channels.surgery import prune
from evoprune.errors import UnsupportedModelError
from evoprune.objectives.compute import ComputeReport, count
from evoprune.report.remedies import remedies
from evoprune.space.pruning_space import PruningSpace

KEEP_RATIOS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class GroupRow:
    """One group of units.

    Attributes:
        name: Name of the group.
        size: Units in it.
        layer_type: Kind of the layer that produces them.
        layers: All layers that do.
        constraint: Says what binds the units.
        macs_share: Fraction of the model's MACs that would go if the whole group went; None where that can't be told. Work
            between two groups is in both their shares, so that these don't add up to 1.
        params_share: The same of the parameters.
        accuracy_lost: Loss of the metric without half of the group; None where it wasn't measured.
    """

    name: str
    size: int
    layer_type: str
    layers: tuple[str, ...]
    constraint: str
    macs_share: float | None
    params_share: float
    accuracy_lost: float | None = None


@dataclass(frozen=True)
class Outlook:
    """What is left when every group keeps a fraction of its units.

    Attributes:
        keep_ratio: The fraction.
        macs: Multiply-accumulates for one sample.
        params: Shared ones once.
        counted: Whether a pruned model had to be counted because MACs can't be predicted.
    """

    keep_ratio: float
    macs: int
    params: int
    counted: bool


@dataclass(frozen=True)
class Inspection:
    """All there is to say about a pruning space.

    Attributes:
        units: Number of units.
        dense: Cost of the whole model.
        groups: The groups, in the order of the model.
        frozen: `(layer, reason)` of what can't be pruned.
        outlooks: Predicted costs at `KEEP_RATIOS`.
        unpredictable: Reasons why MACs can't be predicted for some plans; empty where they can.
    """

    units: int
    dense: ComputeReport
    groups: tuple[GroupRow, ...]
    frozen: tuple[tuple[str, str], ...]
    outlooks: tuple[Outlook, ...]
    unpredictable: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain dicts and lists."""
        return {
            **asdict(self),
            "frozen": [{"name": name, "reason": reason} for name, reason in self.frozen],
            "remedies": [{"remedy": remedy, "layers": list(layers)} for remedy, layers in remedies(self.frozen)],
        }


def inspect_space(
    model: nn.Module, space: PruningSpace, example_inputs: Any, losses: Mapping[str, float] | None = None
) -> Inspection:
    """Describe `space`.

    Args:
        model: The dense network; untouched.
        space: Pruning space that `analyze` returned for the model.
        example_inputs: Inputs that it was analysed on.
        losses: Accuracy lost by group, as `sensitivity` measures it.
    """
    rows = (
        GroupRow(
            group.name, group.size, group.layer_type, group.layers, group.constraint, macs, params, (losses or {}).get(group.name)
        )
        for group, (macs, params) in zip(space.groups, space.cost_model.shares(), strict=True)
    )  # fmt: skip
    return Inspection(
        space.size,
        count(model, example_inputs),
        tuple(rows),
        tuple((item.name, item.reason) for item in space.frozen),
        outlooks(model, space, example_inputs, KEEP_RATIOS),
        tuple(dict.fromkeys([*space.workload.guards.values(), *space.workload.minima.values()])),
    )


def outlooks(
    model: nn.Module, space: PruningSpace, example_inputs: Any, ratios: Sequence[float]
) -> tuple[Outlook, ...]:
    """What is left at some keep ratios: predicted, or counted where that is impossible."""
    found = []
    for ratio in ratios:
        bits = space.random_bits(ratio, seed=0)
        try:
            costs = space.cost(bits)
            found.append(Outlook(ratio, int(costs.macs), int(costs.params), counted=False))
        except UnsupportedModelError:
            counted = count(prune(model, space.plan(bits)), example_inputs)
            found.append(Outlook(ratio, counted.macs, counted.params, counted=True))
    return tuple(found)
