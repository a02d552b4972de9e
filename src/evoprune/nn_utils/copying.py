"""Copies of what a model holds: as `copy.deepcopy` makes them, and functions that lead back to the model bound to the copy."""

from __future__ import annotations

import copy
import functools
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from functools import cached_property
from types import BuiltinMethodType, CellType, FunctionType, MemberDescriptorType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.nn_utils.calling import named_tensors
from evoprune.nn_utils.holdings import ATOMS, CachedFunction, content_of, held_by, reachable

_MOST_STEPS = 100_000
"""A function from which the model isn't reached in so many steps is taken not to lead to it; a check of the copy finds out."""

_MADE_IN_PYTHON = 1 << 9
"""`Py_TPFLAGS_HEAPTYPE`."""


class Copier:
    """Copies objects, each once.

    Args:
        model: Network whose modules and tensors are looked for in functions.
        memo: deepcopy's: `{id: copy}`; what is in it already stands.
    """

    def __init__(self, model: nn.Module, memo: dict[int, Any]) -> None:
        self._model, self._memo = model, memo
        self._leading: dict[int, bool] = {}

    def module(self, module: nn.Module) -> nn.Module:
        """The copy of a module, without running its constructor."""
        known = self._memo.get(id(module))
        if known is not None:
            return known  # type: ignore[no-any-return]
        if not _copies_plainly(type(module), nn.Module):
            return self._deep(module)  # type: ignore[no-any-return]
        copied = type(module).__new__(type(module))
        self._memo[id(module)] = copied
        copied.__setstate__({name: self.value(value) for name, value in _state(module).items()})
        for name, slot in _slots(type(module)):
            if hasattr(module, name):
                slot.__set__(copied, self.value(slot.__get__(module)))
        return copied

    def value(self, value: Any) -> Any:
        """The copy of anything."""
        kind = type(value)
        if kind in ATOMS:
            return value
        known = self._memo.get(id(value))
        if known is not None:
            return known
        if isinstance(value, nn.Module):
            return self.module(value)
        if isinstance(value, Tensor):
            return self._tensor(value)
        made = _COPIES.get(kind)
        if made is not None:
            copied = made(self, value)
        elif _is_plain_object(kind):
            copied = self._object(value)
        else:
            return self._deep(value)
        self._note(value, copied)
        return copied

    @cached_property
    def _own(self) -> set[int]:
        tensors = named_tensors(self._model).values()
        return {id(module) for module in self._model.modules()} | {id(tensor) for tensor in tensors}

    def _tensor(self, tensor: Tensor) -> Tensor:
        """`deepcopy` refuses results of a computation; their history belongs to the original."""
        if tensor.is_leaf:
            return copy.deepcopy(tensor, self._memo)
        copied = tensor.detach().clone()
        self._note(tensor, copied)
        return copied

    def _deep(self, value: Any) -> Any:
        """A copy by `deepcopy`, for classes that know themselves how they are copied."""
        for held in reachable([value]):
            if isinstance(held, Tensor) and not held.is_leaf and id(held) not in self._memo:
                self._tensor(held)
        return copy.deepcopy(value, self._memo)

    def _note(self, value: Any, copied: Any) -> None:
        self._memo[id(value)] = copied
        self._memo.setdefault(id(self._memo), []).append(value)  # alive, so that nothing else gets its id

    def _object(self, value: Any) -> Any:
        copied = object.__new__(type(value))
        self._note(value, copied)
        vars(copied).update({name: self.value(held) for name, held in vars(value).items()})
        return copied

    def _mapping(self, value: Any) -> Any:
        empty = type(value)(self.value(value.default_factory)) if isinstance(value, defaultdict) else type(value)()
        self._note(value, empty)
        empty.update({self.value(key): self.value(item) for key, item in value.items()} if value else {})
        return empty

    def _list(self, value: list[Any]) -> list[Any]:
        copied: list[Any] = []
        self._note(value, copied)
        copied.extend(map(self.value, value))
        return copied

    def _function(self, function: FunctionType) -> FunctionType:
        """The function itself, or where it leads to the model another with the same code and other cells and defaults."""
        if not self._leads(function):
            return function
        cells = tuple(map(self._cell, function.__closure__ or ())) or None
        bound = FunctionType(function.__code__, function.__globals__, function.__name__, None, cells)
        self._note(function, bound)
        bound.__defaults__ = self.value(function.__defaults__)
        bound.__kwdefaults__ = self.value(function.__kwdefaults__)
        bound.__qualname__, bound.__module__ = function.__qualname__, function.__module__
        bound.__doc__, bound.__annotations__ = function.__doc__, function.__annotations__
        vars(bound).update({name: self.value(held) for name, held in vars(function).items()})
        for cell, made in zip(function.__closure__ or (), cells or (), strict=True):
            if made is not cell and not content_of(made):
                made.cell_contents = self.value(cell.cell_contents)
        return bound

    def _cell(self, cell: CellType) -> CellType:
        """A cell of its own where the content leads to the model, still empty: a function may be its own content."""
        if not self._leads(cell):
            return cell
        if id(cell) not in self._memo:
            self._note(cell, CellType())
        return self._memo[id(cell)]  # type: ignore[no-any-return]

    def _cached(self, cached: Any) -> Any:
        """`functools.lru_cache` of a function that leads to the model: an empty cache around the copy's function."""
        if not self._leads(cached):
            return cached
        return functools.lru_cache(**cached.cache_parameters())(self.value(cached.__wrapped__))

    def _builtin(self, method: BuiltinMethodType) -> Any:
        """A method such as `self.seen.append`, of the copy's list where that is copied."""
        owner = self._memo.get(id(method.__self__))
        return method if owner is None else getattr(owner, method.__name__)

    def _reference(self, reference: weakref.ref[Any]) -> weakref.ref[Any]:
        target = reference()
        return weakref.ref(self.value(target)) if id(target) in self._own else reference

    def _generator(self, generator: torch.Generator) -> torch.Generator:
        return generator.clone_state()

    def _leads(self, value: Any) -> bool:
        """Whether a module or tensor of the model is reached from `value`."""
        known = self._leading.get(id(value))
        if known is None:
            known = any(id(found) in self._own for found in reachable(held_by(value), most=_MOST_STEPS))
            self._leading[id(value)] = known
        return known


def _partial(copier: Copier, value: functools.partial[Any]) -> functools.partial[Any]:
    keywords = {name: copier.value(held) for name, held in value.keywords.items()}
    return functools.partial(copier.value(value.func), *map(copier.value, value.args), **keywords)


def _tuple(copier: Copier, value: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(copier.value, value))


_COPIES: dict[type, Callable[[Copier, Any], Any]] = {
    dict: Copier._mapping,
    OrderedDict: Copier._mapping,
    defaultdict: Copier._mapping,
    list: Copier._list,
    tuple: _tuple,
    set: lambda copier, value: set(map(copier.value, value)),
    frozenset: lambda copier, value: frozenset(map(copier.value, value)),
    deque: lambda copier, value: deque(map(copier.value, value), value.maxlen),
    FunctionType: Copier._function,
    MethodType: lambda copier, value: MethodType(copier.value(value.__func__), copier.value(value.__self__)),
    BuiltinMethodType: Copier._builtin,
    functools.partial: _partial,
    CachedFunction: Copier._cached,
    weakref.ref: Copier._reference,
    torch.Generator: Copier._generator,
}


def _state(module: nn.Module) -> dict[str, Any]:
    read = getattr(module, "__getstate__", None)
    state = read() if read is not None else None
    return state if isinstance(state, dict) else vars(module)


def _slots(kind: type) -> list[tuple[str, MemberDescriptorType]]:
    """What `__slots__` of a network's classes makes, which lies outside its `__dict__`."""
    every = [item for base in kind.__mro__ for item in vars(base).items()]
    return [(name, slot) for name, slot in every if isinstance(slot, MemberDescriptorType)]


def _copies_plainly(kind: Any, base: Any) -> bool:
    """Whether a class copies as `base` does, state apart, without methods of its own for it."""
    return not (
        hasattr(kind, "__deepcopy__")
        or kind.__reduce_ex__ is not object.__reduce_ex__
        or getattr(kind, "__getstate__", None) is not getattr(base, "__getstate__", None)
    )


def _is_plain_object(kind: Any) -> bool:
    """Whether instances are their `__dict__` and no more."""
    return (
        kind.__new__ is object.__new__
        and kind.__reduce__ is object.__reduce__
        and _copies_plainly(kind, object)
        and not hasattr(kind, "__setstate__")
        and not issubclass(kind, type)
        and kind.__flags__ & _MADE_IN_PYTHON != 0
        and all("__slots__" not in vars(base) for base in kind.__mro__)
    )
