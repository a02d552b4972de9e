"""From optimisation steps to epochs: what progress bars and logs are told of a long training."""

from __future__ import annotations

from collections.abc import Callable

from evoprune.events import EpochEnded, Listener, TrainingProgress


class EpochReporter:
    """Turns optimisation steps into events of progress and of ended epochs.

    Args:
        stage: Name of the training, for the events.
        steps_per_epoch: Steps of an epoch.
        steps: Steps in all.
        notify: Called with each event.
        judge: Scores the network after each epoch, without disturbing training; None where nothing judges it.
    """

    def __init__(
        self,
        stage: str,
        steps_per_epoch: int,
        steps: int,
        notify: Listener,
        judge: Callable[[], float] | None = None,
    ) -> None:
        self._stage, self._steps, self._total = stage, steps_per_epoch, steps
        self._notify, self._judge = notify, judge
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
            self._notify(EpochEnded(self._stage, epoch, epochs, mean, None if self._judge is None else self._judge()))
            self._losses, self._counted = 0.0, 0
