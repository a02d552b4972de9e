"""Criterion `bn_scale`: what BatchNorm multiplies a channel with."""

from __future__ import annotations

import numpy as np
from torch.nn.modules.batchnorm import _BatchNorm

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.channels.importance.slices import joined, unit_sums
from evoprune.errors import UsageError
from evoprune.nn_utils.prune_hooks import effective_parameters, stored_name


def bn_scale(examinee: Examinee) -> Scores:
    """Absolute scale of the BatchNorm that a channel passes; the mean over several.

    The criterion is silent about units without BatchNorm: they score as high as the best unit anywhere, and so go last.

    Raises:
        UsageError: No unit passes a BatchNorm with a scale.

    Source:
        Liu et al. 2017, Learning Efficient Convolutional Networks through Network Slimming, section 3, arXiv:1708.06519.
    """
    parameters, space = effective_parameters(examinee.model), examinee.space
    own = {id(parameter): name for name, parameter in examinee.model.named_parameters()}
    norms = (module for module in examinee.model.modules() if isinstance(module, _BatchNorm))
    stored = (norm._parameters.get(stored_name(norm, "weight")) for norm in norms)
    scales = {own[id(scale)] for scale in stored if scale is not None}
    found: list[Scores | None] = []
    for group in space.groups:
        sums = [unit_sums(group, m, parameters[m.tensor].abs()) for m in group.members if m.tensor in scales]
        found.append(np.mean(sums, axis=0) if sums else None)
    if all(scores is None for scores in found):
        raise UsageError("bn_scale needs a BatchNorm with a scale, and nothing prunable passes one", "try l2")
    best = max(scores.max() for scores in found if scores is not None)
    return joined(
        np.full(group.size, best) if scores is None else scores
        for group, scores in zip(space.groups, found, strict=True)
    )
