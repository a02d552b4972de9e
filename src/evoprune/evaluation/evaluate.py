"""START HERE: the life of one candidate, from genome to score."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence

from torch import nn

from evoprune.errors import CandidateError, MeasurementError
from evoprune.evaluation.fidelity import recover
from evoprune.evaluation.workbench import Workbench
from evoprune.genome import BitGenome
from evoprune.objectives.base import Objective, Subject
from evoprune.objectives.constraint import total_violation
from evoprune.pruning.structured import prune
from evoprune.results import Cost, Evaluation, Status


def evaluate_candidate(bench: Workbench, genome: BitGenome, rung: int = 0) -> tuple[Evaluation, Cost]:
    """Build the smaller network that `genome` describes, let it recover, and measure it.

    The network is pruned before it is trained, so that a small candidate costs little. What counting alone can tell is measured
    first: a candidate that breaks a bound on MACs is not trained at all. The same genome, rung and seed give the same evaluation
    in any process.

    Args:
        bench: The dense network, the task and the measures.
        genome: A valid genome of the bench's encoding.
        rung: Which of the bench's fidelities to pay for.

    Returns:
        The evaluation, and what it took. A candidate that can't be built, trained or measured is FAILED, not an exception.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    values: dict[str, float] = {}
    try:
        small = prune(bench.model, bench.encoding.decode(genome))
        values |= _measure(bench, small, rung, [one for one in bench.objectives if not one.needs_training])
        violation = total_violation(bench.constraints, values, bench.baseline)
        if violation == 0:
            seeds = bench.seeds.child(genome.digest, rung)
            recover(
                small,
                bench.task,
                bench.fidelities[rung],
                seeds=seeds,
                device=bench.device,
                micro_batch=bench.training_batch,
            )
            values |= _measure(bench, small, rung, [one for one in bench.objectives if one.needs_training])
            violation = total_violation(bench.constraints, values, bench.baseline)
        status, reason = (Status.INFEASIBLE, "breaks a constraint") if violation else (Status.OK, "")
        evaluation = Evaluation(genome.digest, rung, status, values, violation, reason)
    except CandidateError as error:
        evaluation = Evaluation(genome.digest, rung, Status.FAILED, {}, reason=str(error))
    cost = Cost(time.perf_counter() - wall, time.process_time() - cpu, bench.training_batch.size, os.getpid())
    return evaluation, cost


def _measure(bench: Workbench, model: nn.Module, rung: int, objectives: Sequence[Objective]) -> dict[str, float]:
    samples = bench.fidelities[rung].select_samples
    data = bench.task.select if samples is None else bench.task.select.head(samples)

    def attempt(size: int) -> dict[str, float]:
        subject = Subject(model, bench.example_inputs, data, bench.task.metric, bench.device, size)
        return {objective.name: _finite(objective, objective.measure(subject)) for objective in objectives}

    return bench.scoring_batch.attempt(attempt)


def _finite(objective: Objective, value: float) -> float:
    if not math.isfinite(value):
        raise MeasurementError(f"{objective.name} is {value}")
    return value
