"""Operations that give the same bits in less time, in what a network repeats for every candidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from evoprune.evaluation.replay.tape import Operation, Tape, Value, values_in

aten = torch.ops.aten

IN_PLACE: Final[dict[Any, Any]] = {
    aten.relu.default: aten.relu_.default,
    aten.tanh.default: aten.tanh_.default,
    aten.sigmoid.default: aten.sigmoid_.default,
    aten.hardtanh.default: aten.hardtanh_.default,
    aten.silu.default: aten.silu_.default,
    aten.add.Tensor: aten.add_.Tensor,
}
"""Elementwise operations that may overwrite an operand that nobody reads again: fresh memory costs more than the arithmetic."""

_POOL_DEFAULTS: Final[tuple[Any, ...]] = (None, (), (), (0,), (1,), False)


class Substitutes:
    """Finds for an operation what to run in its stead.

    Args:
        tape: The whole pass, to see who reads what.
        operations: Operations that may be replaced: a part of the pass that always runs as a whole.
    """

    def __init__(self, tape: Tape, operations: Sequence[Operation]) -> None:
        everything = tape.operations
        self._reads = Counter(value for operation in everything for value in operation.operands)
        self._reads.update(values_in(tape.output))
        # Among all values: a view of a weight must not be taken for memory of the pass's own.
        given = [*tape.inputs, *tape.chosen, *tape.constants]
        made = [value for operation in everything for value in operation.results]
        self._sharing = Counter(value.storage for value in {*given, *made})
        self._own = {value for operation in operations for value in operation.results}

    def call(self, operation: Operation) -> Operation:
        """`operation`, or one that leaves the same bits in its result."""
        if not any(value in self._own for value in operation.results):
            return operation
        if operation.function is aten.max_pool2d_with_indices.default:
            return self._pool(operation)
        if operation.function in IN_PLACE and self._may_overwrite(operation):
            return replace(operation, function=IN_PLACE[operation.function])
        return operation

    def _may_overwrite(self, operation: Operation) -> bool:
        first, result = operation.args[0], operation.result
        return (
            isinstance(first, Value)
            and first in self._own
            and self._reads[first] == 1
            and self._sharing[first.storage] == 1
            and first.form == result.form
        )

    def _pool(self, operation: Operation) -> Operation:
        images, kernel, stride, padding, dilation, ceil = (*operation.args, *_POOL_DEFAULTS[len(operation.args) :])
        result, indices = operation.result
        plain = min(kernel) > 1 and not any(padding) and all(step == 1 for step in dilation) and not ceil
        if not plain or operation.kwargs or self._reads[indices] or len(images.form[0]) != 4:
            return operation
        if images.form[1][1] == 1 and max(kernel) > 2:
            return operation  # torch is fast enough where channels come last
        steps = tuple(stride) or tuple(kernel)
        pair = tuple(kernel) * (2 // len(kernel)), steps * (2 // len(steps))
        return Operation(max_pool_by_slices, (images, *pair), {}, result)


def max_pool_by_slices(images: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """The maximum over windows as elementwise maxima of shifted slices: the selection is exact, in whatever order.

    torch's kernel compares one element at a time where channels come first, and takes 8 to 20 times as long.

    Args:
        images: [n, c, h, w].
        kernel: Height and width of the window.
        stride: Steps between windows.

    Returns:
        [n, c, (h - kernel height) // stride + 1, likewise for the width].
    """
    for dim, size, step in ((2, kernel[0], stride[0]), (3, kernel[1], stride[1])):
        reach = images.shape[dim] - size + 1
        pooled = images.narrow(dim, 0, reach)[_every(dim, step)]
        for offset in range(1, size):
            pooled = torch.maximum(pooled, images.narrow(dim, offset, reach)[_every(dim, step)])
        images = pooled
    return images


def _every(dim: int, step: int) -> tuple[slice, ...]:
    return (*(slice(None) for _ in range(dim)), slice(None, None, step))
