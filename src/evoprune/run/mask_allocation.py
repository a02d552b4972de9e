"""How a sparsity goal for the network is shared out among layers that are searched one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

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
        `{weight name: weights}`, at least 1 and at most what is left of it.
    """
    weights = prunable_weights(config, model)
    total = round((1 - goal) * sum(weight.size for weight in weights))
    left = {weight.name: kept_weights(config, model, {weight.name: state.alive[weight.name]}) for weight in weights}
    spent = sum(count for name, count in left.items() if name not in ahead)
    available = sum(left[name] for name in ahead)
    budget = min(max(total - spent, len(ahead)), available)
    if state.orders:
        space = build_space(config, model, state, ahead, budget)
        chosen = space.choose(next(iter(space.orders.values())))
        shares = {weight.name: space.weights_in(weight, chosen[weight.name]) for weight in space.weights}
    else:
        shares = _equal_shares({name: left[name] for name in ahead}, budget)
    return {name: min(max(count, 1), left[name]) for name, count in shares.items()}


def _equal_shares(left: Mapping[str, int], budget: int) -> dict[str, int]:
    """`budget` in proportion to what is left; the rounding falls to the largest."""
    available = sum(left.values())
    shares = {name: budget * count // available for name, count in left.items()}
    largest = max(shares, key=lambda name: left[name])
    shares[largest] += budget - sum(shares.values())
    return shares
