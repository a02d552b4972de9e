"""Tensors that code makes of one number, such as `torch.zeros`: any of their positions will do for any other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from evoprune.data.trees import tensors_in
from evoprune.nn_utils.dispatch import storage_address

_MAKERS = {
    *(torch.ops.aten.zeros, torch.ops.aten.ones, torch.ops.aten.full, torch.ops.aten.empty),
    *(torch.ops.aten.new_zeros, torch.ops.aten.new_ones, torch.ops.aten.new_full, torch.ops.aten.new_empty),
}
_MOVERS = {
    *(
        torch.ops.aten._to_copy,
        torch.ops.aten.clone,
        torch.ops.aten.detach,
        torch.ops.aten.alias,
        torch.ops.aten.lift_fresh,
    ),
    *(torch.ops.aten.unsqueeze, torch.ops.aten.expand, torch.ops.aten.view, torch.ops.aten._unsafe_view),
    *(torch.ops.aten.transpose, torch.ops.aten.permute, torch.ops.aten.t),
}


class FreshTensors:
    """Knows them, until something is written into their memory."""

    def __init__(self) -> None:
        self._makers: Any = WeakTensorKeyDictionary()
        self._memory: dict[int, bool] = {}

    def maker(self, tensor: Tensor) -> str | None:
        """The module whose code made `tensor`; None where it isn't such a tensor."""
        found: str | None = self._makers.get(tensor)
        return found if found is not None and self._memory.get(storage_address(tensor)) else None

    def see(self, func: Any, operands: list[Tensor], result: Any, module: str) -> None:
        """An operation has run, and the labels of its results stand."""
        packet = getattr(func, "overloadpacket", None)
        if packet in _MAKERS:
            self._note(result, module)
        elif packet in _MOVERS and operands and (maker := self.maker(operands[0])) is not None:
            self._note(result, maker)
        elif getattr(getattr(func, "_schema", None), "is_mutable", False):
            for tensor in [*operands[:1], *tensors_in(result)]:
                self._memory.pop(storage_address(tensor), None)
        elif operands and torch.Tag.pointwise in getattr(func, "tags", ()):
            makers = [self.maker(tensor) for tensor in operands]
            if makers[0] is not None and None not in makers:
                self._note(result, makers[0])

    def _note(self, result: Any, module: str) -> None:
        for tensor in tensors_in(result):
            self._makers[tensor] = module
            self._memory[storage_address(tensor)] = True
