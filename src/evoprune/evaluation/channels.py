"""START HERE: the life of one candidate, from genome to score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from evoprune.channels.encoding import Encoding
from evoprune.channels.surgery import prune
from evoprune.data.task import Task
from evoprune.evaluation.base import Bounds, measured
from evoprune.evaluation.inheritance import Trained, inherit
from evoprune.evaluation.recovery import Fidelity, recover
from evoprune.genome import BitGenome
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.base import Objective, Subject
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree


@dataclass(frozen=True)
class ChannelEvaluator:
    """Removes channels from a trained network, lets the rest recover, and measures it.

    The network is pruned before it is trained, so that a small candidate costs little. What doesn't need training is measured
    first: a candidate that breaks a bound on MACs is not trained at all.

    Attributes:
        model: Trained dense network on `device`; never modified.
        task: Data, loss and metric.
        example_inputs: Inputs of one forward pass, on `device`.
        encoding: Turns a genome into a plan.
        fidelities: The rungs, cheapest first.
        objectives: Objectives to measure, those of the bounds included.
        bounds: Bounds that candidates have to keep.
        seeds: Root of the candidates' seeds.
        device: Device that does the work.
        training_batch: Samples per training pass; shared by all candidates, so that running out of memory once is enough.
        scoring_batch: Samples per scoring pass, likewise.
        samples: Samples in the example inputs; found out for every candidate when None.
        start: Trained candidate whose weights a candidate begins with; the dense network's when None.
        keep: Called with each network after its training.
    """

    model: nn.Module
    task: Task
    example_inputs: Any
    encoding: Encoding
    fidelities: Sequence[Fidelity]
    objectives: Sequence[Objective]
    bounds: Bounds
    seeds: SeedTree
    device: torch.device
    training_batch: MicroBatch
    scoring_batch: MicroBatch
    samples: int | None = None
    start: Trained | None = None
    keep: Callable[[nn.Module], None] = lambda _: None

    @property
    def micro_batch(self) -> int:
        """Samples per training pass; 0 where there is no limit."""
        return self.training_batch.size or 0

    def measure(self, genome: BitGenome, fidelity: int) -> Iterator[Mapping[str, float]]:
        """What counting alone tells, then what has to be trained for.

        Raises:
            CandidateError: The candidate can't be built, trained or measured.
        """
        plan = self.encoding.decode(genome)
        small = prune(self.model, plan)
        if self.start is not None:
            inherit(small, plan, self.model, self.start)
        rung = self.fidelities[fidelity]
        yield self._values(small, rung, trained=False)
        recover(
            small,
            self.task,
            rung,
            seeds=self.seeds.child(genome.digest, fidelity),
            samples_seeds=self.seeds.child("rung", fidelity),
            device=self.device,
            micro_batch=self.training_batch,
        )
        self.keep(small)
        yield self._values(small, rung, trained=True)

    def _values(self, model: nn.Module, rung: Fidelity, *, trained: bool) -> dict[str, float]:
        task = self.task
        data = task.val if rung.select_samples is None else task.val.head(rung.select_samples)
        objectives = [one for one in self.objectives if one.needs_training is trained]

        def subject(size: int) -> Subject:
            return Subject(model, self.example_inputs, data, task.metric, self.device, size, self.samples, task.loss)

        with isolated_rng(0):  # for metrics and objectives that draw; what the network draws has seeds of its own
            return measured(objectives, self.scoring_batch, subject)
