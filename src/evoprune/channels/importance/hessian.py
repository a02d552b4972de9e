"""Criterion `hessian`: what the loss would change to second order if a unit went."""

from __future__ import annotations

import torch

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.channels.importance.gradients import Gradients, each_gradient
from evoprune.channels.importance.slices import produced_sums
from evoprune.nn_utils.prune_hooks import effective_parameters


def hessian(examinee: Examinee) -> Scores:
    """Half the sum of `h w^2` over all parameters that produce a unit, h being the Hessian's diagonal.

    The diagonal is approximated by the empirical Fisher information, the mean of squared gradients over single samples: never
    negative, and free of chance. It equals the Hessian's where the loss is a log-likelihood and the model fits the data. One
    backward pass per sample; some hundred samples are enough.

    Source:
        LeCun et al. 1990, Optimal Brain Damage, section 2; Theis et al. 2018, Faster gaze prediction with dense networks and
        Fisher pruning, section 2.1, arXiv:1801.05787.
    """
    values = effective_parameters(examinee.model)
    squares = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in values.items()}

    def add(found: Gradients) -> None:
        for name, gradient in found.items():
            squares[name] += gradient.double() ** 2

    samples = each_gradient(examinee, "hessian", add, per_sample=True)
    return produced_sums(
        examinee.space, {name: squares[name] / samples * value.double() ** 2 / 2 for name, value in values.items()}
    )
