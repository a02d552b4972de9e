"""Where a network decides in Python by what its inputs hold: a trace would keep one way of several."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from evoprune.data.trees import tensors_in
from evoprune.errors import UnsupportedModelError
from evoprune.nn_utils.quiet import quiet
from evoprune.rng import preserved_generators

_ATEN: Final = torch.ops.aten
_READS: Final = (
    _ATEN._local_scalar_dense.default,
    _ATEN.equal.default,
    _ATEN.allclose.default,
    _ATEN.is_nonzero.default,
)
"""What `bool`, `int`, `float` and `item` of a tensor end in, and comparisons that give a bool of Python."""
_COPIES: Final = (Tensor.tolist, Tensor.numpy, Tensor.__array__)
_TORCH: Final = Path(torch.__file__).parent


def refuse_data_reads(flat: nn.Module, tensors: Sequence[Tensor], what: str) -> None:
    """See that no value that depends on the inputs becomes a number of Python while the network is traced.

    Args:
        flat: Takes the tensors; in eval mode.
        tensors: Inputs of one pass.
        what: What the network is to be written as, for the message.

    Raises:
        UnsupportedModelError: One does, and where; or it can't be told whether one does.
    """
    watch, name = _Watch(tensors), type(getattr(flat, "module", flat)).__name__
    with watch.functions, watch.operations:
        watched = _is_traced(flat, tensors)
    if watch.places:
        raise UnsupportedModelError(
            f"{name} decides by the values of its inputs in {watch.places[0]}; {what} would keep one way alone",
            "rewrite the branch with torch.where, or export the weights alone: safetensors",
        )
    # What can't be traced at all is told of by whoever traces it in earnest.
    if not watched and _is_traced(flat, tensors):
        raise UnsupportedModelError(
            f"it can't be told whether {name} decides by the values of its inputs; {what} would keep one way alone",
            "use torch-export, which follows networks in another way, or export the weights alone: safetensors",
        )


def _is_traced(flat: nn.Module, tensors: Sequence[Tensor]) -> bool:
    with torch.no_grad(), preserved_generators(), quiet():
        try:
            torch.jit.trace(flat, tuple(tensors), check_trace=False, strict=False)
        except Exception:  # of whatever kind, in torch or in the network's own code
            return False
    return True


class _Watch:
    """Follows the memory that depends on the inputs, and notes where Python reads of it."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.places: list[str] = []
        self.functions, self.operations = _Functions(self), _Operations(self)
        self._from_inputs: dict[int, Any] = {}
        for tensor in tensors:
            self.mark(tensor)

    def mark(self, tensor: Tensor) -> None:
        storage = _storage(tensor)
        if storage is not None:
            # Held, so that no other memory gets its number.
            self._from_inputs[storage._cdata] = storage

    def depends(self, tree: Any) -> bool:
        """Whether it does; what has no memory of one piece counts as if."""
        storages = map(_storage, tensors_in(tree))
        return any(one is None or one._cdata in self._from_inputs for one in storages)

    def note(self) -> None:
        frames = [one for one in traceback.extract_stack() if _TORCH not in Path(one.filename).parents]
        own = [one for one in frames if Path(one.filename).parent != Path(__file__).parent]
        place = own[-1] if own else None
        self.places.append("its code" if place is None else f"{Path(place.filename).name}, line {place.lineno}")


def _storage(tensor: Tensor) -> Any:
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse tensors and their like
        return None


class _Operations(TorchDispatchMode):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if self._watch.depends((args, kwargs)):
            if func in _READS:
                self._watch.note()
            written = (args, kwargs) if func._schema.is_mutable else ()
            for tensor in tensors_in((result, written)):
                self._watch.mark(tensor)
        return result


class _Functions(TorchFunctionMode):
    """Lists and arrays are made without any operation."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        if func in _COPIES and self._watch.depends(args):
            self._watch.note()
        return func(*args, **(kwargs or {}))
