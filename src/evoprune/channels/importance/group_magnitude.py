"""Criterion `group_magnitude`: the size of everything that goes with a unit, its readers included."""

from __future__ import annotations

import numpy as np

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.channels.importance.slices import everything, per_group, unit_sums
from evoprune.nn_utils.prune_hooks import effective_parameters


def group_magnitude(examinee: Examinee) -> Scores:
    """Sum of squares over all slices of parameters that a unit takes along: filters, biases, scales, and the slices that read it.

    Source:
        Fang et al. 2023, DepGraph: Towards Any Structural Pruning, section 3.3, arXiv:2301.12900.
    """
    parameters = effective_parameters(examinee.model)
    return per_group(
        examinee.space,
        lambda group: np.sum(
            [unit_sums(group, one, parameters[one.tensor].double() ** 2) for one in everything(group, parameters)],
            axis=0,
        ),
    )
