"""The task's loss on a data set."""

from __future__ import annotations

from evoprune.objectives.base import Subject


class MeanLoss:
    """The task's loss on what the network returns in evaluation mode, the mean over all samples."""

    name = "loss"
    maximize = False
    needs_training = True

    def measure(self, subject: Subject) -> float:
        """The loss over all samples of the subject's data."""
        return subject.losses.mean


class LossGap:
    """Half the difference of the loss between two halves of the samples.

    Its spread among candidates is the standard error of their differences in the loss: what the choice of samples makes of them.
    """

    name = "loss_gap"
    maximize = False
    needs_training = True

    def measure(self, subject: Subject) -> float:
        """The gap over the subject's data."""
        return subject.losses.gap
