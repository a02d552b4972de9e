"""How a sparsity goal for the network is shared out among layers that are searched one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from evoprune.pruning.encodings.mask_space import MaskSpace
from evoprune.pruning.maskable import MaskableWeight
from evoprune.run.config import Config
from evoprune.run.mask_stage import build_space, kept_weights, prunable_weights
from evoprune.run.states import State


def share_out(config: Config, model: nn.Module, state: State, goal: float, ahead: Sequence[str]) -> Mapping[str, int]:
    """Weights that each tensor of `ahead` keeps, so that the network meets the goal once all of them are done.

    With importance orders, as many as the first order alone would keep of each; without, the same share of all.

    Args:
        config: The run's settings.
        model: Network of the run's structure.
        state: What the search begins with.
        goal: Sparsity of all prunable weights.
        ahead: Weights that this pass has still to search.

    Returns:
        `{weight name: weights}`, at least what live outputs take, and at most what is left of it and the structure allows.
    """
    weights = prunable_weights(config, model)
    left = {weight.name: kept_weights(config, model, {weight.name: state.alive[weight.name]}) for weight in weights}
    spent = sum(count for name, count in left.items() if name not in ahead)
    bounds = {weight.name: _bounds(build_space(config, model, state, [weight.name], None)) for weight in weights}
    least, most = ({name: bounds[name][end] for name in ahead} for end in (0, 1))
    budget = min(max(goal_weights(weights, goal) - spent, sum(least.values())), sum(most.values()))
    if not state.orders:
        return _equal_shares(left, least, most, budget)
    space = build_space(config, model, state, ahead, budget)
    chosen = space.choose(next(iter(space.orders.values())))
    shares = {weight.name: space.weights_in(weight, chosen[weight.name]) for weight in space.weights}
    return {name: min(max(count, least[name]), most[name]) for name, count in shares.items()}


def goal_weights(weights: Sequence[MaskableWeight], goal: float) -> int:
    """How many of `weights` stay at a sparsity of `goal`."""
    return round((1 - goal) * sum(weight.size for weight in weights))


def _bounds(space: MaskSpace) -> tuple[int, int]:
    """Weights that the one tensor of a space keeps at the least, for outputs that must live, and at the most."""
    (weight,) = space.weights
    alive = space.alive[weight.name]
    sizes = np.broadcast_to(np.asarray(space.unit_sizes(weight), dtype=np.float32), alive.shape)
    most = space.weights_in(weight, space.mended(weight, alive, sizes))
    return min(max(1, space.weights_in(weight, space.mended(weight, np.zeros_like(alive), sizes))), most), most


def _equal_shares(
    left: Mapping[str, int], least: Mapping[str, int], most: Mapping[str, int], budget: int
) -> dict[str, int]:
    """`budget` in proportion to what is left, each share within its bounds; what that and rounding cost, the largest bear."""
    available = sum(left[name] for name in least)
    shares = {name: min(max(least[name], budget * left[name] // available), most[name]) for name in least}
    surplus = budget - sum(shares.values())
    for name in sorted(shares, key=lambda name: -left[name]):
        change = min(max(surplus, least[name] - shares[name]), most[name] - shares[name])
        shares[name] += change
        surplus -= change
    return shares
