"""How good a network of a mask run is on select, in the two ways that a run asks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from evoprune.evaluation.mask_scoring import outputs_of, tally
from evoprune.evaluation.memory import MicroBatch
from evoprune.execution.threads import torch_threads
from evoprune.run.assemble import SCORING_BATCH
from evoprune.run.config import Config
from evoprune.run.mask_stage import scored_samples
from evoprune.run.problem import Problem
from evoprune.sources.base import Source


@dataclass(frozen=True)
class Figures:
    """Accuracy, loss, and the worst class of a network.

    Attributes:
        config: The run's settings.
        problem: Whose task.
        device: Where the network is.
    """

    config: Config
    problem: Problem
    device: torch.device

    def of_candidates(self, model: nn.Module) -> dict[str, float]:
        """On the samples, and with the threads, that candidates are scored with; and the sparsity of a dense network."""
        figures = self._measured(
            model, scored_samples(self.config, self.problem), self.config.execution.candidate_threads
        )
        return {**figures, "sparsity": 0.0, "layer_sparsity": 0.0}

    def of_select(self, model: nn.Module) -> dict[str, float]:
        """On the whole select set, with the threads of training."""
        return self._measured(model, self.problem.task.select, self.config.execution.training_threads)

    def _measured(self, model: nn.Module, data: Source, threads: int) -> dict[str, float]:
        batches = MicroBatch(SCORING_BATCH, stage="scoring a network")
        with torch_threads(threads):
            return batches.attempt(
                lambda size: tally(outputs_of(model, data, device=self.device, batch_size=size), self.problem.task)
            )
