"""Distillation: a network learns the outputs of another one besides the targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from evoprune.errors import UnsupportedModelError
from evoprune.metrics.outputs import logits_of
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.cloning import clone

_SUM_TOLERANCE: Final = 1e-2
"""How far shares may be from 1 in sum, in half precision as well."""


@dataclass(frozen=True)
class Distillation:
    """How much a network learns from another one.

    Attributes:
        share: Share of the loss that is the distance to its outputs, 0 to 1; the rest is the loss against the targets.
        temperature: Divides the outputs of both networks before softmax, above 0.
    """

    share: float
    temperature: float

    def by(self, model: nn.Module) -> Teacher:
        """A copy of `model` as the teacher."""
        return Teacher(clone(model).eval(), self.share, self.temperature)


@dataclass(frozen=True)
class Teacher:
    """A network to learn from.

    Attributes:
        model: Network in eval mode, on the device of the batches; never modified.
        share: Share of the loss that is the distance to its outputs, 0 to 1; the rest is the loss against the targets.
        temperature: Divides the outputs of both networks before softmax, above 0.
    """

    model: nn.Module
    share: float
    temperature: float

    def mixed(self, loss: Tensor, outputs: Any, inputs: Any, wanted: Tensor | None = None) -> Tensor:
        """The loss against the targets, mixed with the distance to the teacher's outputs.

        Args:
            loss: Loss against the targets, a scalar.
            outputs: Outputs of the learner for `inputs`.
            inputs: Inputs of one batch.
            wanted: The teacher's outputs for them, [n, classes, ...], where they are known.

        Returns:
            A scalar. The distance is the Kullback-Leibler divergence of softened outputs over dimension 1, times the square of
            the temperature, so that its gradients are of the size of the targets'.

        Raises:
            UnsupportedModelError: The outputs aren't those of classes.

        Source:
            Hinton et al. 2015, Distilling the knowledge in a neural network, arXiv:1503.02531.
        """
        if wanted is None:
            with torch.no_grad():
                wanted = class_outputs(call_model(self.model, inputs))
        softened = functional.log_softmax(class_outputs(outputs) / self.temperature, dim=1)
        target = functional.log_softmax(wanted / self.temperature, dim=1)
        divergence = functional.kl_div(softened, target, reduction="none", log_target=True).sum(1).mean()
        return (1 - self.share) * loss + self.share * self.temperature**2 * divergence


def class_outputs(outputs: Any) -> Tensor:
    """Outputs as [n, classes, ...].

    Raises:
        UnsupportedModelError: They aren't those of classes.
    """
    logits = logits_of(outputs)
    if not isinstance(logits, Tensor) or logits.dim() < 2 or logits.shape[1] < 2:
        raise UnsupportedModelError(
            "distillation compares outputs of classes, [samples, classes, ...], which this network does not give",
            "set training.distill (of weight masks: masks.distill) to 0",
        )
    return logits


def check_distilled(outputs: Any, targets: Any) -> None:
    """See that outputs and targets are of classes of which one is right.

    Raises:
        UnsupportedModelError: They aren't: the targets give each output a number, as in regression, or several labels at once.
    """
    logits = class_outputs(outputs)
    if isinstance(targets, Tensor) and targets.shape == logits.shape and not _shares(targets.to(torch.float64)):
        raise UnsupportedModelError(
            "distillation compares outputs of classes of which one is right, and the targets of this task give each output a "
            "number of its own",
            "set training.distill (of weight masks: masks.distill) to 0",
        )


def _shares(targets: Tensor) -> bool:
    """Whether the targets are shares of the classes, [n, classes, ...], such as those of smoothed labels."""
    return bool((targets >= 0).all()) and bool(((targets.sum(1) - 1).abs() < _SUM_TOLERANCE).all())
