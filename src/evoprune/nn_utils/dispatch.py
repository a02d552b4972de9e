"""Base of the modes that watch a model's operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class WatchingMode(TorchDispatchMode):
    """A dispatch mode that runs without the compiler.

    torch 2.13 wraps `__torch_dispatch__` so that its first call imports `torch._dynamo`: 0.6 s and an environment
    variable in every process, all for nothing here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    # Operations of operations, such as flex_attention, are seen as one.
    supports_higher_order_operators = True

    def in_parts(self, func: Any, types: Sequence[Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The result of an operation that is made of others, these seen one by one; NotImplemented where it isn't.

        Only tensors made under `torch.inference_mode`, and those of classes of their own, which are left to do it their own way,
        bring operations such as `linear` here in one piece.
        """
        if types or not hasattr(func, "decompose"):
            return NotImplemented
        with self:
            return func.decompose(*args, **kwargs)


def storage_address(tensor: Tensor) -> int:
    """What tensors that share memory have in common; 0 for one without a storage of its own, such as a sparse one."""
    return int(tensor.untyped_storage()._cdata) if tensor.layout == torch.strided else 0
