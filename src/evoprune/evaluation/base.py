"""The seam for the kinds of candidates, and the one function in which a candidate's errors become data."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from evoprune.errors import CandidateError, MeasurementError
from evoprune.genome import BitGenome
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.base import Objective, Subject, value_of
from evoprune.objectives.constraint import Constraint, total_violation
from evoprune.results import Cost, Evaluation, Status


@dataclass(frozen=True)
class Bounds:
    """What candidates have to keep.

    Attributes:
        constraints: Bounds on objectives.
        baseline: The dense network's value of each constrained objective.
    """

    constraints: tuple[Constraint, ...] = ()
    baseline: Mapping[str, float] = field(default_factory=dict)

    def violation(self, values: Mapping[str, float]) -> float:
        """Sum over the bounds on what is among `values`; 0 when all are kept."""
        return total_violation(self.constraints, values, self.baseline)


class Evaluator(Protocol):
    """Makes candidates of one kind from their genomes and measures them; set up once per worker.

    `measure` is a function of genome, fidelity and the evaluator: the same in any process, whatever came before. It leaves the
    dense network and every global random generator as they were. An error of the candidate is raised as a `CandidateError`; any
    other error stops the run.
    """

    @property
    def bounds(self) -> Bounds:
        """What the candidates have to keep."""

    @property
    def micro_batch(self) -> int:
        """Samples per pass in training, for the record; 0 where there is no limit."""

    def measure(self, genome: BitGenome, fidelity: int) -> Iterator[Mapping[str, float]]:
        """Values by objective in stages, cheapest first; no name comes twice.

        Between two stages the caller looks at the bounds, and asks for no more of a candidate that breaks one. What is costly,
        such as training, belongs after the first stage that can tell that it is in vain.

        Args:
            genome: A valid genome.
            fidelity: Rung of work to pay for, 0 is the cheapest.
        """


def evaluate(evaluator: Evaluator, genome: BitGenome, fidelity: int = 0) -> tuple[Evaluation, Cost]:
    """Turn the genome of a job into its score.

    Returns:
        The evaluation, and what it took. A candidate that can't be built, trained or measured is FAILED, not an exception; one
        that breaks a bound is INFEASIBLE, with the values that were measured by then.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    values: dict[str, float] = {}
    violation = 0.0
    try:
        for stage in evaluator.measure(genome, fidelity):
            values |= _finite(stage)
            violation = evaluator.bounds.violation(values)
            if violation:
                break
        status, reason = (Status.INFEASIBLE, "breaks a constraint") if violation else (Status.OK, "")
        evaluation = Evaluation(genome.digest, fidelity, status, values, violation, reason)
    except CandidateError as error:
        evaluation = Evaluation(genome.digest, fidelity, Status.FAILED, {}, reason=str(error))
    cost = Cost(time.perf_counter() - wall, time.process_time() - cpu, evaluator.micro_batch, os.getpid())
    return evaluation, cost


def measured(
    objectives: Sequence[Objective], batches: MicroBatch, subject: Callable[[int], Subject]
) -> dict[str, float]:
    """The value of each objective, by its name.

    Args:
        objectives: The objectives, in the order of the values.
        batches: Samples per scoring pass, fewer where they have no room.
        subject: Gives what is measured, in batches of so many samples.
    """

    def attempt(size: int) -> dict[str, float]:
        one = subject(size)
        return {objective.name: value_of(objective, one) for objective in objectives}

    return batches.attempt(attempt)


def _finite(values: Mapping[str, float]) -> Mapping[str, float]:
    for name, value in values.items():
        if not math.isfinite(value):
            raise MeasurementError(f"{name} is {value}")
    return values
