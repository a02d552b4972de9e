"""How many bytes the operations of a pass read and write."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from evoprune.data.trees import tensors_in
from evoprune.nn_utils.calling import run_example, undisturbed


def bytes_moved(model: nn.Module, inputs: Any) -> int:
    """Bytes of all operands and results of one pass; views move nothing.

    Args:
        model: Any network; untouched.
        inputs: Inputs of one forward pass.

    Raises:
        UnsupportedModelError: The model can't run on them.
    """
    traffic = _Traffic()
    with undisturbed(model), traffic:
        run_example(model, inputs)
    return traffic.moved


class _Traffic(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        results = func(*args, **(kwargs or {}))
        given, made = list(tensors_in((args, kwargs))), list(tensors_in(results))
        if not func.is_view:
            self.moved += sum(map(_bytes, [*given, *made]))
        return results


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
