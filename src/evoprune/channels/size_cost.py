"""What the bytes of a network's plans are predicted from."""

from __future__ import annotations

from safetensors.torch import save
from torch import nn

from evoprune.nn_utils.weights import weights_of
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.size_cost import SizeCost


def size_cost(model: nn.Module, space: PruningSpace) -> SizeCost:
    """The bytes of plans for a network, as `evoprune.count` measures them of pruned ones.

    Args:
        model: The dense network.
        space: Pruning space of the model.
    """
    weights = weights_of(model)
    shapes = {name: (tuple(tensor.shape), tensor.element_size()) for name, tensor in weights.items()}
    numbers = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    return SizeCost(space, shapes, len(save(weights)) - numbers)
