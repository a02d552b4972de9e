"""The neurons of a network, as masks of single weights see them: read off its pruning space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from evoprune.masks.maskable import MaskableWeight
from evoprune.masks.neurons import NONE, Neurons, Numbers
from evoprune.space.analysis import trace_space
from evoprune.space.pruning_space import PruningSpace


def neurons_of(model: nn.Module, example_inputs: Any, weights: Sequence[MaskableWeight]) -> Neurons:
    """Trace the network, and number the units of its groups.

    Args:
        model: Any eager module; untouched.
        example_inputs: Inputs of one forward pass.
        weights: Weight tensors that masks are searched for.

    Raises:
        UnsupportedModelError: The network can't be traced.
    """
    space = trace_space(model, example_inputs)
    outputs = {one.name: _numbers(space, one, one.output_dim, one.rows_shape[0]) for one in weights}
    inputs = {one.name: _numbers(space, one, 1 - one.output_dim, (*one.rows_shape, 1)[1]) for one in weights}
    return Neurons([(group.name, group.size) for group in space.groups], outputs, inputs)


def _numbers(space: PruningSpace, weight: MaskableWeight, dim: int, length: int) -> Numbers:
    """[length] number of the neuron at each position of a dimension; of none where groups of a convolution share positions."""
    numbers: Numbers = np.full(length, NONE, dtype=np.int32)
    for group in space.groups:
        for member in group.members:
            if (member.tensor, member.dim) == (weight.name, dim) and weight.groups == 1:
                numbers[member.index] = group.start + member.unit
    return numbers
