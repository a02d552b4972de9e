"""What a run measures of its candidates, and what it makes of the values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from evoprune.errors import ConfigError, MeasurementError
from evoprune.nn_utils.threads import torch_threads
from evoprune.objectives.base import Objective, Subject, value_of
from evoprune.objectives.constraint import SPARSITIES
from evoprune.objectives.fitness import Fitness, mean_gain, weighted
from evoprune.objectives.latency_names import how_of, is_latency
from evoprune.objectives.loss import LossGap
from evoprune.plugins import BUILT_IN, known_names, resolve
from evoprune.results import MetricCard
from evoprune.rng import isolated_rng
from evoprune.run.bounds import JUDGED, check_finite
from evoprune.run.candidate_scores import CandidateScores
from evoprune.run.front import costs_of

MASK_MEASURES: Final = ("accuracy", "loss", "sparsity", "layer_sparsity", "worst_class_accuracy")
"""Built-in objectives of weight masks; the others are the same whatever the masks."""


@dataclass(frozen=True)
class Wanted:
    """What the settings ask to be measured, by name.

    Attributes:
        searched: Objectives of costs and fronts.
        bounded: Objectives of the constraints.
        targets: Objectives of the target, which must be measured anyway.
        weights: Weights of the fitness, at least 0.
        masks: Whether single weights are masked; otherwise channels are removed.
        besides: Objectives for tables and plots alone.
    """

    searched: tuple[str, ...]
    bounded: tuple[str, ...]
    targets: tuple[str, ...]
    weights: Mapping[str, float]
    masks: bool
    besides: tuple[str, ...] = ()

    @property
    def weights_in_use(self) -> dict[str, float]:
        """The weights that are not 0; none where a search of channels is for something that has none."""
        applies = self.masks or all(self.weights.get(name) for name in self.searched)
        return {name: weight for name, weight in self.weights.items() if weight and applies}

    @property
    def first(self) -> list[str]:
        """What is measured before the rest: what fitness is made of, and what is told of every mask."""
        if not self.masks:
            return list(self.weights_in_use)
        loss = ["loss"] if "loss" in (*self.weights_in_use, *self.searched, *self.bounded, *self.targets) else []
        return ["sparsity", "layer_sparsity", "accuracy", *loss, "worst_class_accuracy"]


@dataclass(frozen=True)
class Measures:
    """The objectives of a run.

    Attributes:
        searched: Objectives of costs and fronts, in the order of the settings.
        measured: All of them, in the order in which they are measured.
        required: Names of those that the run can't do without; others are left out where a task doesn't have them.
        weights: Weights of the fitness, by objective; empty where it is the mean gain of what is searched.
        metric: The task's.
    """

    searched: tuple[Objective, ...]
    measured: tuple[Objective, ...]
    required: frozenset[str]
    weights: Mapping[str, float]
    metric: MetricCard

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that is measured for what it says of candidates, and not of scores."""
        return tuple(one.name for one in self.measured if one.name != LossGap.name)

    @property
    def bred_by_metric(self) -> bool:
        """Whether choices among candidates depend on the task's metric."""
        return "accuracy" in (*self.weights, *(one.name for one in self.searched))

    def fitness(self, dense: Mapping[str, float]) -> Fitness:
        """The one number to breed by.

        Args:
            dense: The dense network's values.
        """
        if self.weights:
            return weighted(self.weights, dense, maximize=self.metric.maximize)
        return mean_gain(self.searched, dense)

    def scores(self, dense: Mapping[str, float]) -> CandidateScores:
        """What evaluations are worth to the search."""
        fitness = self.fitness(dense)
        return CandidateScores(
            lambda evaluation: fitness(evaluation.objectives),
            lambda evaluation: costs_of(evaluation, self.searched),
            len(self.searched),
        )

    @property
    def latencies(self) -> tuple[Objective, ...]:
        """Those that are milliseconds of a forward pass."""
        return tuple(one for one in self.measured if is_latency(one.name))

    @property
    def reported(self) -> tuple[Objective, ...]:
        """What finished networks are measured by besides: what is searched for, and all latencies."""
        return tuple(dict.fromkeys([*self.searched, *self.latencies]))

    def without_latencies(self) -> Measures:
        """What needs no clock."""
        return replace(self, measured=tuple(one for one in self.measured if one not in self.latencies))

    def known_to(self, dense: Mapping[str, float]) -> tuple[Objective, ...]:
        """What is measured of candidates: what the dense network has a value of."""
        return tuple(one for one in self.measured if one.name in dense)

    def of_dense(self, subject: Subject, *, threads: int) -> dict[str, float]:
        """The dense network's value of each objective.

        Args:
            subject: The dense network, with the samples that candidates are scored on.
            threads: Number of torch threads that candidates are scored with.

        Raises:
            ConfigError: The task has no value of one that is searched for or bounded.
            DataError: A value is no finite number.
        """
        values: dict[str, float] = {}
        missing: dict[str, str] = {}
        with torch_threads(threads), isolated_rng(0):
            for one in self.measured:
                try:
                    values[one.name] = value_of(one, subject)
                except MeasurementError as error:
                    missing[one.name] = error.message
        check_finite(values)
        for name in missing.keys() & self.required:
            known = dict.fromkeys([*(one for one in MASK_MEASURES if one in values), *values])
            raise ConfigError(
                f"{name!r} can't be measured on this task: {missing[name]}", f"its measures are {', '.join(known)}"
            )
        return values


def choose_measures(wanted: Wanted, metric: MetricCard) -> Measures:
    """The objectives that are measured: what is searched for, what is bounded, and what fitness and reports need.

    A constraint may use the `name` of any objective that is searched for.

    Raises:
        ConfigError: An objective is unknown, is none of such a run, or goes by the name of another.
    """
    for name in wanted.searched:
        if wanted.searched.count(name) > 1:
            raise ConfigError(f"search.objectives names {name!r} twice", "once is enough")
    found = {
        name: _objective(name, wanted, metric)
        for name in dict.fromkeys([*wanted.first, *wanted.searched, *wanted.besides])
    }
    for name in wanted.bounded:
        if name not in {one.name for one in found.values()}:
            found[name] = _objective(name, wanted, metric)
    _check_names_differ(found)
    if "loss" in found and "loss" in wanted.weights_in_use and not wanted.masks:
        found[LossGap.name] = LossGap()
    optional = {"worst_class_accuracy"} - {*wanted.searched, *wanted.bounded}
    return Measures(
        searched=tuple(found[name] for name in wanted.searched),
        measured=tuple(found.values()),
        required=frozenset(one.name for one in found.values()) - optional,
        weights=wanted.weights_in_use,
        metric=metric,
    )


def _objective(name: str, wanted: Wanted, metric: MetricCard) -> Objective:
    if wanted.masks:
        _check_measure_of_masks(name)
    elif name in SPARSITIES:
        raise ConfigError(
            f"{name!r} is a measure of weight masks, and search.encoding is of channels",
            "macs and params count channels",
        )
    how = how_of(name)
    factory = resolve("objectives", name if how is None else name.partition("@")[0])
    given = {"maximize": metric.maximize} if name in JUDGED else {} if how is None else asdict(how)
    objective: Objective = factory(**given)
    lacking = [one for one in ("name", "maximize", "needs_training", "measure") if not hasattr(objective, one)]
    if lacking:
        raise ConfigError(
            f"{name!r} makes no objective: {type(objective).__name__} has no {', no '.join(lacking)}",
            "evoprune.Objective says what an objective has",
        )
    return objective


def _check_names_differ(found: Mapping[str, Objective]) -> None:
    """See that no value would stand for another: they are known by the objectives' names alone."""
    taken = {name: name for name in BUILT_IN["objectives"]}
    for asked, one in found.items():
        if taken.setdefault(one.name, asked) != asked:
            raise ConfigError(
                f"{asked!r} is named {one.name!r}, as another objective is",
                "give it a name of its own, its attribute name",
            )


def _check_measure_of_masks(name: str) -> None:
    others = [one for one in known_names("objectives") if one not in BUILT_IN["objectives"]]
    known = [*MASK_MEASURES, *others]
    if ":" not in name and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        listed = ", ".join([*close, *(one for one in known if one not in close)])
        raise ConfigError(
            f"{name!r} is no measure of weight masks; those are {listed}",
            "see search.objectives and search.constraints, or name your own as package.module:attribute",
        )
