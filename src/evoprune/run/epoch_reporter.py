"""From optimisation steps to epochs: what progress bars and logs are told of a long training."""

from __future__ import annotations

import torch
from torch import nn

from evoprune.events import EpochEnded, Listener, TrainingProgress
from evoprune.objectives.accuracy import score
from evoprune.run.assemble import SCORING_BATCH, training_schedule
from evoprune.run.config import Config
from evoprune.sources.base import Source
from evoprune.task import Task


class EpochReporter:
    """Turns steps into progress events, and judges the network on `judged_by` after each epoch, without disturbing training."""

    def __init__(
        self,
        stage: str,
        model: nn.Module,
        task: Task,
        source: Source,
        judged_by: Source | None,
        config: Config,
        device: torch.device,
        notify: Listener,
        epochs: float | None = None,
    ) -> None:
        self._stage = stage
        self._model = model
        self._task = task
        self._judged_by = judged_by
        self._device = device
        self._notify = notify
        training = config.training
        self._steps = training_schedule(training, source, epochs=1, lr=training.lr).steps
        if epochs is None:
            epochs = training.epochs if stage == "baseline" else training.retrain_epochs
        self._total = round(epochs * self._steps)
        self._losses = 0.0
        self._counted = 0

    def __call__(self, step: int, loss: float) -> None:
        """One optimisation step is done."""
        self._losses += loss
        self._counted += 1
        epoch, batch = divmod(step - 1, self._steps)
        epochs = -(-self._total // self._steps)
        mean = self._losses / self._counted
        self._notify(TrainingProgress(self._stage, epoch, epochs, batch + 1, self._steps, mean))
        if batch + 1 == self._steps or step == self._total:
            self._notify(EpochEnded(self._stage, epoch, epochs, mean, self._judge()))
            self._losses, self._counted = 0.0, 0

    def _judge(self) -> float | None:
        if self._judged_by is None:
            return None
        return score(self._model, self._judged_by, self._task.metric, device=self._device, batch_size=SCORING_BATCH)
