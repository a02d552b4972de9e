"""What can be said about a mask run before any work is done: that its settings fit the network."""

from __future__ import annotations

from torch import nn

from evoprune.errors import UsageError
from evoprune.run.config import Config
from evoprune.run.mask_allocation import goal_weights
from evoprune.run.mask_stage import build_space, everything_alive, prunable_weights
from evoprune.run.mask_warm_start import read_warm_start
from evoprune.run.problem import Problem
from evoprune.run.states import State
from evoprune.run.store import RunStore


def check_network(config: Config, problem: Problem, store: RunStore) -> None:
    """See that layers, structure, goals and masks to begin with fit the network; the latter are the same at every resume.

    Raises:
        UsageError: They don't.
        ReplayMismatchError: The masks are not those that the run began with.
    """
    weights = prunable_weights(config, problem.model)
    alive = everything_alive(config, weights)
    for goal in config.masks.goals or ():
        _check_goal(config, problem.model, State({}, alive, {}), goal, goal_weights(weights, goal))
    warm = read_warm_start(config, problem.model)
    if warm is not None:
        store.pin("warm_start", warm.digest)


def _check_goal(config: Config, model: nn.Module, dense: State, goal: float, kept: int) -> None:
    try:
        build_space(config, model, dense, list(dense.alive), kept)
    except UsageError as error:
        raise UsageError(
            f"masks.goals: a sparsity of {goal} can't be met: {error.message}",
            f"{error.hint}; or set masks.live_outputs to last",
        ) from error
