"""Which layers are searched when, how sparse they are to be after it, and what a step may cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evoprune.masks.maskable import MaskableWeight
from evoprune.results import MetricCard
from evoprune.store.steps import StepRecord


@dataclass(frozen=True)
class Step:
    """A search, or several at the same time, and the retraining after it.

    Attributes:
        index: Position in the schedule, from 0.
        number: Number of the pass, from 0.
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


@dataclass(frozen=True)
class Schedule:
    """How a run goes through its layers.

    Attributes:
        goals: Sparsity of all prunable weights after each pass; None leaves it to fitness.
        between: Passes on the way from one goal to the next.
        mode: `whole`, `layers` one after the other, `independent` of each other, or `population`: whole, by members that inherit.
        order: Order of layers one after the other: `forward`, `backward` or `largest` first.
    """

    goals: tuple[float | None, ...]
    between: int
    mode: str
    order: str

    @property
    def alone(self) -> bool:
        """Whether the whole search of a layer is one job."""
        return self.mode == "independent"

    @property
    def inherits(self) -> bool:
        """Whether a step is a round of members that go on from their own weights."""
        return self.mode == "population"

    @property
    def passes(self) -> int:
        """How often every layer is searched."""
        return sum(1 for _ in passes(self.goals, self.between))

    def steps(self, weights: Sequence[MaskableWeight]) -> tuple[Step, ...]:
        """All steps of a run, in order."""
        steps: list[Step] = []
        for number, (goal, between) in enumerate(passes(self.goals, self.between)):
            rounds = self._rounds(weights)
            for position, names in enumerate(rounds):
                ahead = tuple(name for later in rounds[position:] for name in later)
                steps.append(Step(len(steps), number, goal, names, ahead, between))
        return tuple(steps)

    def _rounds(self, weights: Sequence[MaskableWeight]) -> list[tuple[str, ...]]:
        """The weights of each step of one pass; those of one layer go together."""
        if self.mode != "layers":
            return [tuple(weight.name for weight in weights)]
        layers: dict[str, list[MaskableWeight]] = {}
        for weight in weights:
            layers.setdefault(weight.layer, []).append(weight)
        groups = list(layers.values())
        if self.order == "backward":
            groups.reverse()
        if self.order == "largest":
            groups.sort(key=lambda group: -sum(weight.size for weight in group))
        return [tuple(weight.name for weight in group) for group in groups]


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


def layer_groups(weights: Sequence[MaskableWeight], names: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """`(layer, names of its weights)` for the weights among `names`."""
    groups: dict[str, list[str]] = {}
    for weight in weights:
        if weight.name in names:
            groups.setdefault(weight.layer, []).append(weight.name)
    return [(layer, tuple(members)) for layer, members in groups.items()]


@dataclass(frozen=True)
class StepLimits:
    """What a step may cost.

    Attributes:
        max_accuracy_drop: Largest drop of the metric on select below that of the dense network; None: any.
        min_class_accuracy: Accuracy of the worst class on select, unless that of the dense network is lower.
    """

    max_accuracy_drop: float | None
    min_class_accuracy: float

    def verdict(self, record: StepRecord, dense: Mapping[str, float], metric: MetricCard) -> str:
        """Why a step can't be taken; empty when it can.

        Args:
            record: Result of the step.
            dense: Figures of the dense network on select.
            metric: Metric of the task. Only a share of something good, as accuracy is, has a floor for its worst class.
        """
        return self._class_collapsed(record, dense, metric) or self._accuracy_dropped(record, dense, metric)

    def _class_collapsed(self, record: StepRecord, dense: Mapping[str, float], metric: MetricCard) -> str:
        worst, floor = record.worst_class_accuracy, self.min_class_accuracy
        before = dense.get("worst_class_accuracy", 1.0)
        # A class that the dense network itself is worse at has not collapsed before it has lost half of that.
        if worst is None or not _is_share(metric, before) or worst >= (floor if before >= floor else before / 2):
            return ""
        return (
            f"a class has fallen to {100 * worst:.1f} % on select, from {100 * before:.1f} % for the dense network's worst; "
            f"masks.min_class_accuracy is {100 * floor:.1f} %"
        )

    def _accuracy_dropped(self, record: StepRecord, dense: Mapping[str, float], metric: MetricCard) -> str:
        allowed = self.max_accuracy_drop
        if allowed is None or metric.gain(record.select_accuracy) >= metric.gain(dense["accuracy"]) - allowed:
            return ""
        went = "fallen" if metric.maximize else "risen"
        shown = f"{100 * allowed:.2f} %" if metric.in_percent else f"{allowed:g}"
        return (
            f"{metric.name} on select has {went} to {metric.text(record.select_accuracy)}, "
            f"from {metric.text(dense['accuracy'])}; masks.max_accuracy_drop is {shown}"
        )


def _is_share(metric: MetricCard, before: float) -> bool:
    return metric.maximize and 0 <= max(0.0, metric.bounds[0]) <= before <= min(1.0, metric.bounds[1])
