"""The life of a candidate that masks weights: `evaluate.py` for networks that keep their shape."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from evoprune.errors import CandidateError, MeasurementError
from evoprune.evaluation.fidelity import Fidelity, recover
from evoprune.evaluation.mask_scoring import outputs_of, tally
from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.replay import LayerReplay
from evoprune.genome import BitGenome
from evoprune.mask_plan import MaskPlan
from evoprune.objectives.constraint import Constraint, total_violation
from evoprune.pruning.encodings.base import MaskEncoding
from evoprune.pruning.weight_masks import apply_masks, masks_as_tensors
from evoprune.results import Cost, Evaluation, Status
from evoprune.seeding import SeedTree
from evoprune.sources.base import Source
from evoprune.task import Task


@dataclass(frozen=True)
class MaskBench:
    """The network that masks are tried on, and the measures they are judged by.

    Attributes:
        model: Network on `device`, as the search found it; never modified.
        task: Data, loss and metric.
        data: Samples of the select set that candidates are scored on.
        encoding: From genome to masks of the searched weights.
        weights: Prunable weights of the whole run, searched now or not.
        kept_elsewhere: Of these, how many stay in tensors that are not searched now.
        elsewhere: Masks of those tensors, bool by parameter name, which hold while a candidate learns.
        fidelity: What a candidate may learn before it is scored; without steps it is scored as it is, from kept activations.
        constraints: Bounds on what is measured.
        baseline: The dense network's value of each measure.
        seeds: Root of the candidates' seeds.
        device: Where the work is done.
        training_batch: Samples per training pass.
        scoring_batch: Samples per scoring pass.
    """

    model: nn.Module
    task: Task
    data: Source
    encoding: MaskEncoding
    weights: int
    kept_elsewhere: int
    elsewhere: Mapping[str, Tensor]
    fidelity: Fidelity
    constraints: tuple[Constraint, ...]
    baseline: Mapping[str, float]
    seeds: SeedTree
    device: torch.device
    training_batch: MicroBatch
    scoring_batch: MicroBatch
    _replays: dict[tuple[tuple[str, ...], int], LayerReplay] = field(default_factory=dict)

    def replay(self, names: tuple[str, ...], batch_size: int) -> LayerReplay:
        """The network's activations in front of these weights, kept from candidate to candidate."""
        key = (names, batch_size)
        if key not in self._replays:
            self._replays.clear()
            self._replays[key] = LayerReplay(self.model, names, self.data, device=self.device, batch_size=batch_size)
        return self._replays[key]


def evaluate_masks(bench: MaskBench, genome: BitGenome, rung: int = 0) -> tuple[Evaluation, Cost]:
    """Mask the network as `genome` says, let it learn where the bench pays for that, and measure it.

    Args:
        bench: The network, the task and the measures.
        genome: A valid genome of the bench's encoding.
        rung: Noted in the evaluation.

    Returns:
        The evaluation, with `accuracy`, `loss`, `sparsity` of all prunable weights, `layer_sparsity` of those that are searched
        and, for classes, `worst_class_accuracy`; and what it took. A candidate that can't be measured is FAILED, no exception.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        plan = bench.encoding.decode(genome)
        pruned = bench.weights - plan.kept - bench.kept_elsewhere
        values = {
            "sparsity": pruned / bench.weights,
            "layer_sparsity": plan.sparsity,
            **_figures(bench, plan, genome),
        }
        for name, value in values.items():
            if not math.isfinite(value):
                raise MeasurementError(f"{name} is {value}")
        violation = total_violation(bench.constraints, values, bench.baseline)
        status, reason = (Status.INFEASIBLE, "breaks a constraint") if violation else (Status.OK, "")
        evaluation = Evaluation(genome.digest, rung, status, values, violation, reason)
    except CandidateError as error:
        evaluation = Evaluation(genome.digest, rung, Status.FAILED, {}, reason=str(error))
    cost = Cost(time.perf_counter() - wall, time.process_time() - cpu, bench.training_batch.size, os.getpid())
    return evaluation, cost


def _figures(bench: MaskBench, plan: MaskPlan, genome: BitGenome) -> dict[str, float]:
    if bench.fidelity.schedule.steps == 0 and bench.fidelity.recalibrate_batches == 0:
        masks = masks_as_tensors(bench.model, plan)
        parameters = dict(bench.model.named_parameters())
        values: dict[str, Tensor] = {
            name: parameters[name].detach().masked_fill(~mask, 0) for name, mask in masks.items()
        }
        return bench.scoring_batch.attempt(
            lambda size: tally(bench.replay(tuple(sorted(values)), size).outputs(values), bench.task)
        )
    model = apply_masks(bench.model, plan)
    recover(
        model,
        bench.task,
        bench.fidelity,
        seeds=bench.seeds.child(genome.digest, 0),
        device=bench.device,
        micro_batch=bench.training_batch,
        masks={**bench.elsewhere, **masks_as_tensors(model, plan)},
    )
    return bench.scoring_batch.attempt(
        lambda size: tally(outputs_of(model, bench.data, device=bench.device, batch_size=size), bench.task)
    )
