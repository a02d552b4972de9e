"""Zeros of a network, counted without its plan."""

import numpy as np

from evoprune.masks.apply import plan_of
from evoprune.masks.maskable import maskable_weights
from evoprune.nn_utils.prune_hooks import effective_parameters


def plan_of_zeros(model):
    """The plan that a network with zeros follows: every maskable weight stays that is not zero now."""
    parameters = effective_parameters(model)
    return plan_of(model, {one.name: (parameters[one.name] != 0).cpu().numpy() for one in maskable_weights(model)})


def zeros_by_weight(model):
    """`{parameter name: (zeros, weights)}` of all maskable weights."""
    parameters = effective_parameters(model)
    return {
        one.name: (one.size - int(parameters[one.name].count_nonzero()), one.size) for one in maskable_weights(model)
    }


def sparsity_of(model):
    """Share of zeros among all maskable weights, 0 to 1."""
    zeros, size = np.sum(list(zeros_by_weight(model).values()), axis=0)
    return zeros / size
