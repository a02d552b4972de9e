"""One number to breed by: a sum over objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evoprune.objectives.base import Objective


@dataclass(frozen=True)
class Term:
    """What one objective adds: `weight * value`, or `weight * (1 - value / dense)` where there is a dense value.

    Attributes:
        objective: Name of the objective.
        weight: Negative where less of the term is better.
        dense: The dense network's value, not 0; None where values count as they are.
    """

    objective: str
    weight: float
    dense: float | None = None

    def __call__(self, values: Mapping[str, float]) -> float:
        """The term for a candidate with these values."""
        value = values[self.objective]
        return self.weight * (value if self.dense is None else 1 - value / self.dense)


@dataclass(frozen=True)
class Fitness:
    """The sum of terms, higher is better.

    Attributes:
        terms: Added in this order.
    """

    terms: tuple[Term, ...]

    def __call__(self, values: Mapping[str, float]) -> float:
        """Fitness of a candidate with these values of the terms' objectives."""
        total = 0.0
        for term in self.terms:  # sum() adds with a correction, whose last bits differ between versions of Python
            total += term(values)
        return total

    @property
    def names(self) -> tuple[str, ...]:
        """The objectives that it is made of."""
        return tuple(term.objective for term in self.terms)


def weighted(weights: Mapping[str, float], dense: Mapping[str, float], *, maximize: bool = True) -> Fitness:
    """Fitness from the weights of section `fitness`; the loss counts against a candidate, MACs by the fraction that is saved.

    Args:
        weights: Weights by objective, at least 0; an objective of weight 0 needs no value.
        dense: The dense network's MACs, where these have a weight.
        maximize: Whether more of the metric is better; where less is, its sign is turned.
    """
    signs = {"accuracy": 1.0 if maximize else -1.0, "loss": -1.0}
    return Fitness(
        tuple(
            Term(name, signs.get(name, 1.0) * weight, dense["macs"] if name == "macs" else None)
            for name, weight in weights.items()
            if weight
        )
    )


def mean_gain(objectives: Iterable[Objective], dense: Mapping[str, float]) -> Fitness:
    """Fitness that weighs all objectives alike: the mean over them of what is gained, as a fraction of the dense network's value.

    Args:
        objectives: Objectives that are searched for.
        dense: The dense network's value of each. Where it is 0, the gain counts as it is.
    """
    searched = list(objectives)
    return Fitness(tuple(_gain(one, dense[one.name], 1 / len(searched)) for one in searched))


def _gain(objective: Objective, dense: float, share: float) -> Term:
    # A fraction of a negative value grows as the value falls.
    rises = objective.maximize is (dense >= 0)
    if dense:
        return Term(objective.name, -share if rises else share, dense)
    return Term(objective.name, share if objective.maximize else -share)
