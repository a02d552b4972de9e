"""What a model keeps besides its parameters: attributes, containers, tensors, generators; noted down and put back."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import chain
from types import CellType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from evoprune.nn_utils.dispatch import WatchingMode, storage_address
from evoprune.nn_utils.holdings import content_of, reachable

Undo = Callable[[], bool]
"""Puts one thing back, and says whether it had changed."""


class Snapshot:
    """All that the attributes of `model` lead to, as it is now, but for the values of its parameters.

    Args:
        model: Any module.

    Attributes:
        changed: Whether anything had changed when it was put back.
    """

    def __init__(self, model: nn.Module) -> None:
        self.changed = False
        self._empty: list[dict[Any, Any]] = []
        self._undos: list[Undo] = []
        for value in reachable([model]):
            if type(value) in _PLAIN_MAPPINGS and not value:
                self._empty.append(value)  # most of a module's own: noting them down singly costs more than a pass
            else:
                self._undos.extend(_undos(value))

    def restore(self) -> None:
        """Put everything back as it was."""
        filled = [mapping for mapping in self._empty if mapping]
        for mapping in filled:
            mapping.clear()
        undone = [undo() for undo in self._undos]
        self.changed = bool(filled) or any(undone)


class WriteGuard(WatchingMode):
    """Notes down the value of a parameter that a pass writes to, just before it does.

    Args:
        model: Network that owns the parameters.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._parameters = [(parameter, parameter.data) for parameter in model.parameters()]
        self._saved: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self._written: dict[Any, tuple[int, ...]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Save what the operation is about to overwrite, and run it."""
        if func not in self._written:
            schema = getattr(func, "_schema", None)  # which operations of operations don't have
            arguments = enumerate(schema.arguments) if schema is not None and schema.is_mutable else ()
            self._written[func] = tuple(
                n for n, argument in arguments if argument.alias_info is not None and argument.alias_info.is_write
            )
        for number in self._written[func]:
            if number < len(args) and isinstance(args[number], Tensor):
                self._save(storage_address(args[number]))
        return func(*args, **(kwargs or {}))

    def restore(self) -> None:
        """Put the parameters back, their storage included."""
        for parameter, data in self._parameters:
            if _start(parameter) != _start(data):
                parameter.data = data
        for data, value in chain.from_iterable(self._saved.values()):
            if not torch.equal(data, value):
                _overwrite(data, value)

    @cached_property
    def _at(self) -> dict[int, list[Tensor]]:
        found: dict[int, list[Tensor]] = {}
        for _, data in self._parameters:
            found.setdefault(storage_address(data), []).append(data)
        return found

    def _save(self, address: int) -> None:
        if address and address not in self._saved:
            self._saved[address] = [(data, data.clone()) for data in self._at.get(address, ())]


@contextmanager
def kept_as_it_is(model: nn.Module) -> Iterator[Snapshot]:
    """Afterwards `model` is as before: attributes, containers, tensors and parameters."""
    guard = WriteGuard(model)
    with state_kept(model) as snapshot:
        try:
            with guard:
                yield snapshot
        finally:
            guard.restore()


@contextmanager
def state_kept(model: nn.Module) -> Iterator[Snapshot]:
    """Do what `kept_as_it_is` does, but for the parameters: for where only copies run, which may share what functions hold."""
    snapshot = Snapshot(model)
    try:
        yield snapshot
    finally:
        snapshot.restore()


def _undos(value: Any) -> Iterator[Undo]:
    if isinstance(value, dict):
        yield _mapping(value)
        if type(value) in _PLAIN_MAPPINGS:
            return
    elif isinstance(value, Tensor):
        if not isinstance(value, nn.Parameter):
            yield _tensor(value)
        return
    else:
        for kinds, make in _KEPT:
            if isinstance(value, kinds):
                yield make(value)
                break
    attributes = getattr(value, "__dict__", None)
    if type(attributes) is dict and not isinstance(value, ModuleType):
        yield _mapping(attributes)


def _mapping(mapping: dict[Any, Any]) -> Undo:
    saved = dict(mapping)

    def undo() -> bool:
        if len(mapping) == len(saved) and all(saved.get(key, _MISSING) is item for key, item in mapping.items()):
            return False
        mapping.clear()
        mapping.update(saved)
        return True

    return undo


def _sequence(sequence: Any) -> Undo:
    saved = list(sequence)

    def undo() -> bool:
        if len(sequence) == len(saved) and all(map(_same, sequence, saved)):
            return False
        sequence.clear()
        sequence.extend(saved)
        return True

    return undo


def _set(members: set[Any]) -> Undo:
    saved = set(members)

    def undo() -> bool:
        changed = members != saved
        if changed:
            members.clear()
            members.update(saved)
        return changed

    return undo


def _cell(cell: CellType) -> Undo:
    saved = content_of(cell)

    def undo() -> bool:
        now = content_of(cell)
        if len(now) == len(saved) and all(map(_same, now, saved)):
            return False
        if saved:
            cell.cell_contents = saved[0]
        else:
            del cell.cell_contents
        return True

    return undo


def _tensor(tensor: Tensor) -> Undo:
    data = tensor.data
    saved = data.clone()

    def undo() -> bool:
        if tensor.shape != data.shape or _start(tensor) != _start(data):
            tensor.data = data
        elif torch.equal(data, saved):
            return False
        _overwrite(data, saved)
        return True

    return undo


def _array(array: np.ndarray[Any, Any]) -> Undo:
    saved = array.copy()

    def undo() -> bool:
        same = array.shape == saved.shape and bool(np.array_equal(array, saved, equal_nan=array.dtype.kind in "fc"))
        if not same and array.shape == saved.shape:
            array[...] = saved
        return not same

    return undo


def _torch_generator(generator: torch.Generator) -> Undo:
    saved = generator.get_state()
    return lambda: not torch.equal(generator.get_state(), saved) and bool(generator.set_state(saved))


def _numpy_generator(generator: np.random.Generator) -> Undo:
    saved = generator.bit_generator.state

    def undo() -> bool:
        generator.bit_generator.state = saved
        return False

    return undo


def _python_generator(generator: random.Random) -> Undo:
    saved = generator.getstate()

    def undo() -> bool:
        generator.setstate(saved)
        return False

    return undo


def _start(tensor: Tensor) -> int:
    return tensor.data_ptr() if tensor.layout == torch.strided else 0


def _overwrite(data: Tensor, value: Tensor) -> None:
    with torch.inference_mode(data.is_inference()), torch.no_grad():
        data.copy_(value)


def _same(one: Any, other: Any) -> bool:
    return one is other


_MISSING = object()
_PLAIN_MAPPINGS = frozenset({dict, OrderedDict})

_KEPT: tuple[tuple[Any, Callable[[Any], Undo]], ...] = (
    ((list, deque), _sequence),
    (set, _set),
    (CellType, _cell),
    (np.ndarray, _array),
    (torch.Generator, _torch_generator),
    (np.random.Generator, _numpy_generator),
    (random.Random, _python_generator),
)
