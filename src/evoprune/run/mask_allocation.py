"""How a sparsity goal is shared out among layers, and whether it can be met at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from evoprune.errors import UsageError
from evoprune.masks.space import MaskSpace
from evoprune.run.mask_context import MaskContext, MaskTarget
from evoprune.store.run_directory import RunStore
from evoprune.store.states import State


def share_out(context: MaskContext, state: State, goal: float, ahead: Sequence[str]) -> Mapping[str, int]:
    """Weights that each tensor of `ahead` keeps, so that the network meets the goal once all of them are done.

    With importance orders, as many as the first order alone would keep of each; without, the same share of all.

    Args:
        context: Mask context of the run.
        state: State that the search begins with.
        goal: Sparsity of all prunable weights.
        ahead: Weights that this pass has still to search.

    Returns:
        `{weight name: weights}`, at least what live outputs take, and at most what is left of it and the structure allows.
    """
    left = {one.name: context.kept_weights({one.name: state.alive[one.name]}) for one in context.weights}
    spent = sum(count for name, count in left.items() if name not in ahead)
    bounds = {one.name: _bounds(context.space(state, [one.name])) for one in context.weights}
    least, most = ({name: bounds[name][end] for name in ahead} for end in (0, 1))
    budget = min(max(goal_weights(context, goal) - spent, sum(least.values())), sum(most.values()))
    if not state.orders:
        return _equal_shares(left, least, most, budget)
    space = context.space(state, ahead, budget)
    chosen = space.choose(next(iter(space.orders.values())))
    shares = {weight.name: space.weights_in(weight, chosen[weight.name]) for weight in space.weights}
    return {name: min(max(count, least[name]), most[name]) for name, count in shares.items()}


def goal_weights(context: MaskContext, goal: float) -> int:
    """How many weights of a run stay at a sparsity of `goal`."""
    return round((1 - goal) * context.size)


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


def check_network(target: MaskTarget, goals: Sequence[float], model: nn.Module, store: RunStore) -> None:
    """See that layers, structure, goals and masks to begin with fit the network; the latter are the same at every resume.

    Raises:
        UsageError: They don't.
        ReplayMismatchError: The masks are not those that the run began with.
    """
    context = target.of(model)
    dense = State({}, context.everything_alive(), {})
    for goal in goals:
        try:
            context.space(dense, list(dense.alive), goal_weights(context, goal))
        except UsageError as error:
            raise UsageError(
                f"masks.goals: a sparsity of {goal} can't be met: {error.message}",
                f"{error.hint}; or set masks.live_outputs to last",
            ) from error
    warm = target.read_warm_start(model)
    if warm is not None:
        store.pin("warm_start", warm.digest)
