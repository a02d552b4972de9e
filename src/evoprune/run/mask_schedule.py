"""Which layers are searched when, and how sparse they are to be after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evoprune.pruning.maskable import MaskableWeight
from evoprune.run.config import Config


@dataclass(frozen=True)
class Step:
    """A search, or several at the same time, and the retraining after it.

    Attributes:
        index: Position in the schedule, from 0.
        number: Of the pass, from 0.
        goal: Sparsity of all prunable weights after the pass; None leaves it to fitness.
        names: Weights that are searched.
        ahead: Weights that the pass has still to search, these included.
        between: Whether the goal is one between two of the configured ones.
    """

    index: int
    number: int
    goal: float | None
    names: tuple[str, ...]
    ahead: tuple[str, ...]
    between: bool


def schedule(config: Config, weights: Sequence[MaskableWeight]) -> tuple[Step, ...]:
    """All steps of a run, in order."""
    masks = config.masks
    goals = list(masks.goals) if masks.goals is not None else [None] * masks.passes
    steps: list[Step] = []
    for number, (goal, between) in enumerate(passes(goals, masks.between)):
        rounds = _rounds(config, weights)
        for position, names in enumerate(rounds):
            ahead = tuple(name for later in rounds[position:] for name in later)
            steps.append(Step(len(steps), number, goal, names, ahead, between))
    return tuple(steps)


def passes(goals: Sequence[float | None], between: int) -> Iterator[tuple[float | None, bool]]:
    """Each goal, after `between` others on the way to it from the one before; with whether it is one of these.

    Every step on the way keeps the same share of what the one before kept.
    """
    before: float | None = None
    for goal in goals:
        if before is not None and goal is not None:
            ratio = (1 - goal) / (1 - before)
            for part in range(1, between + 1):
                yield 1 - (1 - before) * ratio ** (part / (between + 1)), True
        yield goal, False
        before = goal


def _rounds(config: Config, weights: Sequence[MaskableWeight]) -> list[tuple[str, ...]]:
    """The weights of each step of one pass; those of one layer go together."""
    if config.masks.mode != "layers":
        return [tuple(weight.name for weight in weights)]
    layers: dict[str, list[MaskableWeight]] = {}
    for weight in weights:
        layers.setdefault(weight.layer, []).append(weight)
    groups = list(layers.values())
    if config.masks.order == "backward":
        groups.reverse()
    if config.masks.order == "largest":
        groups.sort(key=lambda group: -sum(weight.size for weight in group))
    return [tuple(weight.name for weight in group) for group in groups]


def layer_groups(weights: Sequence[MaskableWeight], names: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """`(layer, names of its weights)` for the weights among `names`."""
    groups: dict[str, list[str]] = {}
    for weight in weights:
        if weight.name in names:
            groups.setdefault(weight.layer, []).append(weight.name)
    return [(layer, tuple(members)) for layer, members in groups.items()]
