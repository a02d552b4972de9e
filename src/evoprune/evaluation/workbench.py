"""All that stays the same from candidate to candidate, set up once per worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from evoprune.evaluation.fidelity import Fidelity
from evoprune.evaluation.memory import MicroBatch
from evoprune.objectives.base import Objective
from evoprune.objectives.constraint import Constraint
from evoprune.seeding import SeedTree
from evoprune.space.base import Encoding
from evoprune.task import Task


@dataclass(frozen=True)
class Workbench:
    """The dense network, the task and the measures that every candidate is judged by.

    Attributes:
        model: Trained dense network on `device`; never modified.
        task: Data, loss and metric.
        example_inputs: Inputs of one forward pass, on `device`.
        encoding: From genome to plan.
        fidelities: The rungs, cheapest first.
        objectives: What to measure, constraints' objectives included.
        constraints: Bounds on objectives.
        baseline: The dense network's value of each constrained objective.
        seeds: Root of the candidates' seeds.
        device: Where the work is done.
        training_batch: Samples per training pass; shared by all candidates, so that running out of memory once is enough.
        scoring_batch: Samples per scoring pass, likewise.
    """

    model: nn.Module
    task: Task
    example_inputs: Any
    encoding: Encoding
    fidelities: Sequence[Fidelity]
    objectives: Sequence[Objective]
    constraints: tuple[Constraint, ...]
    baseline: Mapping[str, float]
    seeds: SeedTree
    device: torch.device
    training_batch: MicroBatch
    scoring_batch: MicroBatch
