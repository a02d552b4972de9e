"""A tape as two functions: what is computed once per batch, and what is computed once per candidate."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.evaluation.replay.substitutes import Substitutes
from evoprune.evaluation.replay.tape import Level, Operation, Tape, Value, unique, values_in

Function = Callable[..., Any]


class Program:
    """One network on one shape of batch, split at the chosen weights.

    Args:
        tape: A recorded pass.
        substitutes: Whether operations may be replaced by equal ones that take less time.
    """

    def __init__(self, tape: Tape, *, substitutes: bool) -> None:
        self._tape = tape
        steps = [step for step in zip(tape.operations, tape.levels(), tape.live(), strict=True) if step[2]]
        parts = {level: [operation for operation, at, _ in steps if at == level] for level in Level}
        kept = [value for value in _needed(parts[Level.CHOSEN], tape.output) if value not in tape.chosen]
        constants = {*tape.constants, *_made_by(parts[Level.CONSTANT])}
        self._kept = [value for value in kept if value not in constants]
        self._late = [value for value in kept if value in constants]
        self._early = [value for value in _needed(parts[Level.INPUT], self._kept) if value in constants]
        self._constants = self._run_constants(parts[Level.CONSTANT])
        quick = {level: Substitutes(tape, parts[level] if substitutes else []) for level in (Level.INPUT, Level.CHOSEN)}
        early, late = [*tape.inputs, *self._early], [*tape.chosen, *self._late, *self._kept]
        self._prefix = _compile(parts[Level.INPUT], early, tuple(self._kept), quick[Level.INPUT])
        self._suffix = _compile(parts[Level.CHOSEN], late, tape.output, quick[Level.CHOSEN])
        self._late_tensors = [self._constants[value] for value in self._late]

    def prepare(self, inputs: Any) -> tuple[Tensor, ...]:
        """All that a batch contributes whatever the chosen weights are: what `finish` needs of it."""
        early = [self._constants[value] for value in self._early]
        kept: tuple[Tensor, ...] = self._prefix(*tensors_in(inputs), *early)
        return kept

    def finish(self, kept: Sequence[Tensor], chosen: Sequence[Tensor]) -> Any:
        """The network's output for a prepared batch and values of the chosen parameters, in the order of their names."""
        return self._suffix(*chosen, *self._late_tensors, *kept)

    def _run_constants(self, operations: list[Operation]) -> dict[Value, Tensor]:
        given = list(self._tape.constants)
        wanted = [value for value in unique([*self._early, *self._late]) if value not in self._tape.constants]
        made = _compile(operations, given, tuple(wanted), Substitutes(self._tape, []))(*self._tape.constants.values())
        return self._tape.constants | dict(zip(wanted, made, strict=True))


def _needed(operations: Iterable[Operation], output: Any) -> list[Value]:
    """What `operations` and the output read without `operations` having made it."""
    operations = list(operations)
    made = set(_made_by(operations))
    read = [value for operation in operations for value in operation.operands]
    return [value for value in unique([*read, *values_in(output)]) if value not in made]


def _made_by(operations: Iterable[Operation]) -> list[Value]:
    return [value for operation in operations for value in operation.results]


def _compile(
    operations: Sequence[Operation], given: Sequence[Value], output: Any, substitutes: Substitutes
) -> Function:
    """A Python function of the `given` values that runs `operations` and lets go of each value after its last use."""
    graph = torch.fx.Graph()
    nodes = {value: graph.placeholder(f"given{number}") for number, value in enumerate(given)}

    def place(tree: Any) -> Any:
        if isinstance(tree, Value):
            return nodes[tree]
        if isinstance(tree, dict):
            return {key: place(item) for key, item in tree.items()}
        if isinstance(tree, tuple) and hasattr(tree, "_fields"):
            return type(tree)(*(place(item) for item in tree))
        return type(tree)(place(item) for item in tree) if isinstance(tree, (tuple, list)) else tree

    for operation in operations:
        call = substitutes.call(operation)
        node = graph.call_function(call.function, place(call.args), place(call.kwargs))
        if isinstance(call.result, Value):
            nodes[call.result] = node
        for index, value in enumerate(call.result if isinstance(call.result, tuple) else ()):
            if isinstance(value, Value):
                nodes[value] = graph.call_function(operator.getitem, (node, index))
    graph.output(place(output))
    return torch.fx.GraphModule(nn.Module(), graph).forward
