"""The slow path: a candidate's values in the whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.trees import map_tensors
from evoprune.nn_utils.calling import arguments_of
from evoprune.nn_utils.modes import eval_mode


class WholeNetwork:
    """Runs all of a network for every candidate, behind the interface of `Program`.

    Args:
        model: Network on the device of the batches.
        names: Parameters that candidates replace.
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self._model, self._names = model, names

    def runner(self, inputs: Any) -> WholeNetwork:
        """What runs a batch of this shape: this, whatever the shape."""
        del inputs
        return self

    def prepare(self, inputs: Any) -> Any:
        """The batch as it is: nothing can be done before the weights are known."""
        return inputs

    def finish(self, inputs: Any, values: Sequence[Tensor]) -> Any:
        """The network's output for a batch and values of the chosen parameters, in the order of their names."""
        return run_whole(self._model, dict(zip(self._names, values, strict=True)), inputs)


def run_whole(model: nn.Module, values: Mapping[str, Tensor], inputs: Any) -> Any:
    """The slow path: `model` in eval mode with `values` in place of some parameters, buffers unharmed by what it does."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    own = dict(model.named_parameters(remove_duplicate=False))
    # As parameters: matmul takes another path, with other last bits, for tensors that require no gradient.
    parameters = {name: nn.Parameter(value, requires_grad=own[name].requires_grad) for name, value in values.items()}
    # Fresh tensors, which the network may write to.
    arguments, keywords = arguments_of(model, map_tensors(inputs, Tensor.clone))
    with torch.no_grad(), eval_mode(model):
        return torch.func.functional_call(model, buffers | parameters, arguments, keywords)
