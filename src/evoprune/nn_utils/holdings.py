"""What an object holds on to: the one list of ways in which attributes, containers and functions lead to other objects."""

from __future__ import annotations

import functools
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from types import BuiltinMethodType, CellType, FunctionType, MethodType, ModuleType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

ATOMS: Final = frozenset(
    {int, float, str, bytes, bool, complex, type(None), type(Ellipsis), torch.dtype, torch.device, torch.Size, slice, range}
)  # fmt: skip
"""Types whose values hold nothing that could change."""

MOST_ITEMS: Final = 10_000
"""A longer container is data rather than structure, and its items are not looked into."""

_LEAVES: Final = (type, ModuleType, Tensor, np.ndarray, np.generic)

CachedFunction: Final = type(functools.lru_cache(len))


def held_by(value: Any) -> Iterable[Any]:
    """The objects that `value` refers to directly: items, attributes, and what a function closes over or has as defaults."""
    held = _HELD.get(type(value))
    if held is not None:
        return held(value)  # type: ignore[no-any-return]
    if isinstance(value, _LEAVES):
        return ()
    if isinstance(value, dict):
        return (*_items(value), *_attributes(value))
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return (*_short(value), *_attributes(value))
    return _attributes(value)


def reachable(roots: Iterable[Any], *, most: int = 1_000_000) -> Iterator[Any]:
    """Everything that `roots` lead to, themselves included, each once, in a stable order; `most` at most."""
    stack = list(roots)[::-1]
    seen: set[int] = set()
    while stack and len(seen) < most:
        value = stack.pop()
        if id(value) not in seen:
            seen.add(id(value))
            yield value
            found = [held for held in held_by(value) if type(held) not in ATOMS]
            found.reverse()
            stack.extend(found)


def content_of(cell: CellType) -> tuple[Any, ...]:
    """What a cell of a closure holds; nothing while it is empty."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _short(items: Any) -> Iterable[Any]:
    return items if len(items) <= MOST_ITEMS else ()


def _items(mapping: dict[Any, Any]) -> Iterable[Any]:
    return mapping.values() if mapping and len(mapping) <= MOST_ITEMS else ()


def _attributes(value: Any) -> Iterable[Any]:
    try:
        return tuple(vars(value).values())
    except TypeError:
        return ()


def _of_function(function: FunctionType) -> Iterable[Any]:
    cells = function.__closure__ or ()
    return (*cells, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values(), *vars(function).values())


def _of_partial(value: functools.partial[Any]) -> Iterable[Any]:
    return (value.func, *value.args, *value.keywords.values())


def _of_builtin(method: BuiltinMethodType) -> Iterable[Any]:
    return () if isinstance(method.__self__, ModuleType) else (method.__self__,)


def _of_reference(reference: weakref.ref[Any]) -> Iterable[Any]:
    target = reference()
    return (target,) if isinstance(target, nn.Module) else ()


_HELD: Final[dict[type, Any]] = {
    dict: _items,
    OrderedDict: _items,
    list: _short,
    tuple: _short,
    Tensor: lambda _: (),
    nn.Parameter: lambda _: (),
    FunctionType: _of_function,
    MethodType: lambda method: (method.__func__, method.__self__),
    BuiltinMethodType: _of_builtin,
    CellType: content_of,
    functools.partial: _of_partial,
    CachedFunction: lambda cached: (cached.__wrapped__,),
    weakref.ref: _of_reference,
}
