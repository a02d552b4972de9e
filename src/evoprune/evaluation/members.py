"""One step of a member of a population: prune by its own rule, train in its own way, measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from evoprune.data.base import Source
from evoprune.data.task import Task
from evoprune.evaluation.base import Bounds, measured
from evoprune.evaluation.teacher import Teacher
from evoprune.evaluation.training import Schedule, train
from evoprune.genome import BitGenome
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks, masks_as_tensors
from evoprune.masks.member_genes import MemberGenes, MemberSpace
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.base import Objective, Subject, Zeros
from evoprune.seeding import SeedTree


@dataclass
class MemberEvaluator:
    """An `Evaluator` of members that begin at one network.

    Attributes:
        model: Network that the member goes on from, on `device`; never modified.
        task: Data, loss and metric.
        example_inputs: Inputs of one forward pass, on `device`.
        data: Samples that members are scored on.
        genes: Meaning of the genomes.
        plan_of: Gives the masks that a member chooses.
        schedule_of: Gives the training of a member by its genes.
        teacher: Network that members learn from whose genes say so; None where there is none.
        objectives: Objectives to measure, those of the bounds included.
        bounds: Bounds that members have to keep.
        seeds: Seeds of the training: the same order of samples for all members of a step.
        device: Device that does the work.
        training_batch: Samples per training pass.
        scoring_batch: Samples per scoring pass.
        trained: Network and masks that the last measured member came to.
    """

    model: nn.Module
    task: Task
    example_inputs: Any
    data: Source
    genes: MemberSpace
    plan_of: Callable[[MemberGenes], MaskPlan]
    schedule_of: Callable[[MemberGenes], Schedule]
    teacher: Teacher | None
    objectives: Sequence[Objective]
    bounds: Bounds
    seeds: SeedTree
    device: torch.device
    training_batch: MicroBatch
    scoring_batch: MicroBatch
    trained: tuple[nn.Module, MaskPlan] | None = None

    @property
    def micro_batch(self) -> int:
        """Samples per training pass; 0 where there is no limit."""
        return self.training_batch.size or 0

    def measure(self, genome: BitGenome, fidelity: int) -> Iterator[Mapping[str, float]]:
        """All values of the trained member.

        Raises:
            CandidateError: It can't be trained or measured.
        """
        del fidelity
        genes = self.genes.decode(genome)
        plan = self.plan_of(genes)
        model = apply_masks(self.model, plan)
        train(
            model,
            self.task.train,
            self.schedule_of(genes),
            loss=self.task.loss,
            seeds=self.seeds,
            device=self.device,
            micro_batch=self.training_batch,
            masks=masks_as_tensors(model, plan),
            teacher=self.teacher if genes.distills else None,
        )
        self.trained = model.eval(), plan
        yield measured(self.objectives, self.scoring_batch, lambda size: self._subject(model, plan, size))

    def _subject(self, model: nn.Module, plan: MaskPlan, size: int) -> Subject:
        return Subject(
            model,
            self.example_inputs,
            self.data,
            self.task.metric,
            self.device,
            size,
            loss=self.task.loss,
            zeros=Zeros(plan.sparsity, plan.sparsity),
        )
