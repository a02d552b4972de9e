"""Criterion `taylor`: what the loss would change to first order if a unit went."""

from __future__ import annotations

import numpy as np

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.channels.importance.gradients import Gradients, each_gradient
from evoprune.channels.importance.slices import produced_sums
from evoprune.nn_utils.prune_hooks import effective_parameters


def taylor(examinee: Examinee) -> Scores:
    """Squared sum of gradient times value over all parameters that produce a unit, averaged over the batches.

    This is the group contribution of the paper, `(sum of g w)^2`: the square of the loss's derivative by a common factor on
    filter, bias, scale and shift. Needs batches and a loss; a batch's gradient is that of its mean loss.

    Source:
        Molchanov et al. 2019, Importance Estimation for Neural Network Pruning, section 3.1, arXiv:1906.10771.
    """
    values = effective_parameters(examinee.model)
    total = np.zeros(examinee.space.size)

    def add(found: Gradients) -> None:
        products = {name: gradient.double() * values[name].double() for name, gradient in found.items()}
        total[:] += produced_sums(examinee.space, products) ** 2

    return total / each_gradient(examinee, "taylor", add, per_sample=False)
