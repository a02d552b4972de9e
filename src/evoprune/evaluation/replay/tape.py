"""What a network computes, operation by operation, and which part of it depends on chosen weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from torch import Tensor


class Level(IntEnum):
    """What a value depends on at most: nothing that changes, the inputs, or the chosen weights."""

    CONSTANT = 0
    INPUT = 1
    CHOSEN = 2


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the recorded pass, by its place in it rather than by what it holds.

    Attributes:
        number: Counts the values of one tape.
        storage: Number of its memory; views and results of in-place operations share that of their operand.
        form: (shape, strides, dtype) in the recorded pass.
    """

    number: int
    storage: int
    form: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Operation:
    """One call of an ATen operator.

    Attributes:
        function: The operator's overload.
        args: Positional arguments, values in place of tensors.
        kwargs: Keyword arguments, likewise.
        result: A value, or a tuple of what the operator returns; other things than tensors are None.
        changed: Storages that exist already and that it writes to.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any
    changed: frozenset[int] = frozenset()

    @property
    def operands(self) -> list[Value]:
        """The values it reads, or reads and writes."""
        return list(values_in((self.args, self.kwargs)))

    @property
    def results(self) -> list[Value]:
        """The values it returns."""
        return list(values_in(self.result))

    @property
    def touched(self) -> set[int]:
        """All storages it reads, writes or makes."""
        return {value.storage for value in (*self.operands, *self.results)} | self.changed

    @property
    def written(self) -> set[int]:
        """The storages it makes or writes to; a view writes to nothing."""
        old = {value.storage for value in self.operands}
        return {value.storage for value in self.results if value.storage not in old} | self.changed


@dataclass
class Tape:
    """One pass of a network.

    Attributes:
        inputs: One value per input tensor.
        chosen: One value per chosen parameter.
        constants: Other parameters, buffers and attributes of modules, with what they hold.
        operations: The operations, in the order they ran in.
        output: The network's output, values in place of tensors.
    """

    inputs: list[Value] = field(default_factory=list)
    chosen: list[Value] = field(default_factory=list)
    constants: dict[Value, Tensor] = field(default_factory=dict)
    operations: list[Operation] = field(default_factory=list)
    output: Any = None

    def levels(self) -> list[Level]:
        """What each operation depends on.

        Memory counts as a whole: what is written to once by something that depends on the chosen weights is made anew for every
        candidate, and so is what is overwritten after such an operation has read it.
        """
        storages = dict.fromkeys((value.storage for value in self.constants), Level.CONSTANT)
        storages |= dict.fromkeys((value.storage for value in self.inputs), Level.INPUT)
        storages |= dict.fromkeys((value.storage for value in self.chosen), Level.CHOSEN)
        while True:
            before = dict(storages)
            levels = [self._raise_level(operation, storages) for operation in self.operations]
            self._raise_overwritten(levels, storages)
            if storages == before:
                return levels

    @staticmethod
    def _raise_level(operation: Operation, storages: dict[int, Level]) -> Level:
        level = max((storages.get(storage, Level.CONSTANT) for storage in operation.touched), default=Level.CONSTANT)
        for storage in operation.written:
            storages[storage] = level
        return level

    def _raise_overwritten(self, levels: Sequence[Level], storages: dict[int, Level]) -> None:
        read: dict[int, Level] = {}
        for operation, level in zip(self.operations, levels, strict=True):
            for storage in operation.changed:
                storages[storage] = max(storages[storage], read.get(storage, Level.CONSTANT))
            for value in operation.operands:
                read[value.storage] = max(level, read.get(value.storage, Level.CONSTANT))

    def live(self) -> list[bool]:
        """Whether each operation has a part in the output."""
        needed = {value.storage for value in values_in(self.output)}
        alive = []
        for operation in reversed(self.operations):
            counts = any(value.storage in needed for value in operation.results) or bool(operation.changed & needed)
            if counts:
                needed |= operation.touched
            alive.append(counts)
        return alive[::-1]


def values_in(tree: Any) -> Iterator[Value]:
    """Every value in nested tuples, lists and dicts, in order, repeats included."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from values_in(item)
    elif isinstance(tree, dict):
        yield from values_in(list(tree.values()))


def unique(values: Iterable[Value]) -> list[Value]:
    """`values` once each, in order of appearance."""
    return list(dict.fromkeys(values))
