"""Copy a module tree, with other tensors in place of its own, faster than `copy.deepcopy` walks it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.errors import UnsupportedModelError

_ATOMS = (int, float, str, bool, complex, type(None), torch.dtype, torch.device, torch.Size)
_EMPTY = (list, set, OrderedDict)


def clone(module: nn.Module, replaced: dict[int, Any] | None = None) -> nn.Module:
    """An independent copy, as `copy.deepcopy` makes it.

    Args:
        module: Any module.
        replaced: `{id: object}` to put wherever the copy would hold the object with that id; deepcopy's memo.

    Raises:
        UnsupportedModelError: An attribute can't be copied.
    """
    memo = dict(replaced or {})
    for tensor in _derived_tensors(module):
        memo.setdefault(id(tensor), tensor.detach().clone())
    try:
        return _clone(module, memo)
    except (TypeError, RuntimeError) as error:
        raise UnsupportedModelError(
            f"the model can't be copied: {error}",
            "keep locks, generators and results of computations out of its attributes, as copy.deepcopy needs it too",
        ) from error


def _clone(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    known = memo.get(id(module))
    if known is not None:
        return known  # type: ignore[no-any-return]
    if not _is_plain(type(module)):
        return copy.deepcopy(module, memo)
    copied = type(module).__new__(type(module))
    memo[id(module)] = copied
    copied.__setstate__({name: _clone_value(value, memo) for name, value in _state(module).items()})
    return copied


def _state(module: nn.Module) -> dict[str, Any]:
    read = getattr(module, "__getstate__", None)
    state = read() if read is not None else None
    return state if isinstance(state, dict) else vars(module)


def _clone_value(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if isinstance(value, nn.Module):
        return _clone(value, memo)
    if isinstance(value, Tensor) and id(value) in memo:
        return memo[id(value)]
    if kind is dict:
        known = memo.get(id(value))
        if known is not None:
            return known
        copied: dict[Any, Any] = {}
        memo[id(value)] = copied
        for key, item in value.items():
            copied[key] = _clone_value(item, memo)
        return copied
    return kind() if kind in _EMPTY and not value else copy.deepcopy(value, memo)


def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether a class copies as `nn.Module` does, state apart, without methods of its own for it."""
    return not (
        hasattr(kind, "__deepcopy__")
        or kind.__reduce_ex__ is not object.__reduce_ex__
        or getattr(kind, "__getstate__", None) is not getattr(nn.Module, "__getstate__", None)
    )


def _derived_tensors(model: nn.Module) -> list[Tensor]:
    """Tensors kept in plain attributes that are results of a computation, which `deepcopy` refuses to copy."""
    return [
        value
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
