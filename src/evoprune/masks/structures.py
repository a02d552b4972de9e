"""Structures of weight masks: which weights of a tensor share one bit of the genome. numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from evoprune.errors import UsageError
from evoprune.genome import Bits

Shape = tuple[int, ...]
Values = NDArray[Any]


class Structure(Protocol):
    """What a mask of one weight tensor may look like.

    A weight has the shape [outputs, inputs, *kernel]; of a transposed convolution, exchange the first two dimensions before and
    after. Implementations are immutable, picklable and pure: arguments are never changed. `str` gives back the name.
    """

    def units(self, shape: Shape) -> int:
        """Bits of a genome that one tensor of this shape takes."""

    def expand(self, values: Values, shape: Shape) -> Values:
        """Spread [units] values of any type, such as a genome's bits, over the weights they are for: an array of `shape`."""

    def reduce(self, values: Values, shape: Shape) -> NDArray[np.float64]:
        """Mean over the weights of each unit: from scores of `shape` to scores [units]."""

    def repair(self, bits: Bits, shape: Shape, order: Values) -> Bits:
        """The nearest bits that satisfy the structure, the bits themselves if they do already.

        Args:
            bits: [units] bool.
            shape: Shape of the weight tensor.
            order: [units] numbers; where units have to go, those with the lowest go, and of equals the last.
        """


@dataclass(frozen=True)
class Unstructured:
    """Every weight on its own."""

    def units(self, shape: Shape) -> int:
        """One per weight."""
        return prod(shape)

    def expand(self, values: Values, shape: Shape) -> Values:
        """The values in the shape of the tensor."""
        return values.reshape(shape)

    def reduce(self, values: Values, shape: Shape) -> NDArray[np.float64]:
        """The values, flat."""
        return values.astype(np.float64).reshape(prod(shape))

    def repair(self, bits: Bits, shape: Shape, order: Values) -> Bits:
        """Any bits will do."""
        return bits

    def __str__(self) -> str:
        return "unstructured"


@dataclass(frozen=True)
class Slices:
    """Whole slices along one dimension.

    Attributes:
        dim: 0 for rows, all weights of one output; 1 for columns, all weights that read one input.
    """

    dim: int

    def units(self, shape: Shape) -> int:
        """One per output or input."""
        return matrix_shape(shape, self)[self.dim]

    def expand(self, values: Values, shape: Shape) -> Values:
        """Each value over its slice."""
        axes = tuple(axis for axis in range(len(shape)) if axis != self.dim)
        return np.broadcast_to(np.expand_dims(values.reshape(self.units(shape)), axes), shape).copy()

    def reduce(self, values: Values, shape: Shape) -> NDArray[np.float64]:
        """Mean of each slice."""
        axes = tuple(axis for axis in range(len(shape)) if axis != self.dim)
        return values.mean(axis=axes, dtype=np.float64)  # type: ignore[no-any-return]

    def repair(self, bits: Bits, shape: Shape, order: Values) -> Bits:
        """Any bits will do."""
        return bits

    def __str__(self) -> str:
        return "columns" if self.dim else "rows"


@dataclass(frozen=True)
class Blocks:
    """Rectangles of outputs x inputs, at each kernel position on its own; at the edges, as much of one as there is.

    Attributes:
        rows: Outputs in a block.
        columns: Inputs in a block.
    """

    rows: int
    columns: int

    def units(self, shape: Shape) -> int:
        """One per block."""
        return prod(self._grid(shape))

    def expand(self, values: Values, shape: Shape) -> Values:
        """Each value over its block."""
        blocks = values.reshape(self._grid(shape))
        spread = np.repeat(np.repeat(blocks, self.rows, axis=0)[: shape[0]], self.columns, axis=1)
        return spread[:, : shape[1]]

    def reduce(self, values: Values, shape: Shape) -> NDArray[np.float64]:
        """Mean of each block, over the weights it has."""
        sums, counts = (self._sums(part) for part in (values.astype(np.float64), np.ones(shape[:2])))
        return (sums / counts.reshape(*counts.shape, *[1] * (len(shape) - 2))).reshape(self.units(shape))

    def repair(self, bits: Bits, shape: Shape, order: Values) -> Bits:
        """Any bits will do."""
        return bits

    def _grid(self, shape: Shape) -> Shape:
        outputs, inputs = matrix_shape(shape, self)
        return -(-outputs // self.rows), -(-inputs // self.columns), *shape[2:]

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        outputs, inputs = np.arange(0, values.shape[0], self.rows), np.arange(0, values.shape[1], self.columns)
        return np.add.reduceat(np.add.reduceat(values, outputs, axis=0), inputs, axis=1)

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


ROWS: Final = Slices(0)
COLUMNS: Final = Slices(1)


def matrix_shape(shape: Shape, structure: object) -> tuple[int, int]:
    """Outputs and inputs of a weight tensor.

    Raises:
        UsageError: It has fewer than two dimensions.
    """
    if len(shape) < 2:
        raise UsageError(
            f"structure {structure} needs weights of two dimensions or more, not of shape {list(shape)}",
            "use the structure unstructured for scales and biases",
        )
    return shape[0], shape[1]
