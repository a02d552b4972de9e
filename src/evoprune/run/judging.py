"""Finished models on the test set: the one place where it is read."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from evoprune.events import Decision, Listener
from evoprune.results import ModelReport
from evoprune.run.config import Config
from evoprune.run.finish import compare_latency, judge, report_on
from evoprune.run.problem import Problem
from evoprune.run.store import RunStore


class Judge:
    """Judges finished models, and counts how often the test set was read.

    Args:
        config: The run's settings.
        store: Keeps the count, in the manifest.
    """

    def __init__(self, config: Config, store: RunStore) -> None:
        self._config = config
        self._store = store

    def reports(
        self, models: Mapping[str, nn.Module], problem: Problem, device: torch.device
    ) -> Mapping[str, ModelReport]:
        """All figures of each model, its latency measured by turns with that of the others."""
        latency = compare_latency(models, problem, self._config, device)
        return {
            name: report_on(model, problem, accuracy=self.accuracy(model, problem, device), latency_ms=latency[name])
            for name, model in models.items()
        }

    def accuracy(self, model: nn.Module, problem: Problem, device: torch.device) -> float:
        """The metric of one finished model on the test set."""
        self._store.remember("test_set_reads", (self._store.recall("test_set_reads") or 0) + 1)
        return judge(model, problem.task.test, problem, self._config, device)


def known_factory(problem: Problem, notify: Listener) -> str | None:
    """Import path of what builds the dense network; says so when there is none."""
    if problem.factory is None:
        notify(
            Decision(
                "artifact", "the class alone does not build this network; load it with evoprune.load(..., factory=...)"
            )
        )
    return problem.factory
