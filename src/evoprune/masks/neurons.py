"""Which outputs and inputs of weight tensors belong to one neuron. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import Bits

NONE: Final = -1
"""Number of an output or input that belongs to no neuron, such as the network's own; it is always there."""

Numbers = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Neurons:
    """The neurons of a network, numbered group by group; all that is coupled, as by a residual connection, is one neuron.

    Attributes:
        groups: Name and number of neurons of each group, in the order of the numbers.
        outputs: `{weight name: [outputs] int32}` number of the neuron that each output is; `NONE` for those of none.
        inputs: `{weight name: [inputs] int32}` likewise for what each input comes from.
    """

    groups: Sequence[tuple[str, int]]
    outputs: Mapping[str, Numbers]
    inputs: Mapping[str, Numbers]

    @property
    def count(self) -> int:
        """Number of neurons."""
        return sum(size for _, size in self.groups)

    def wanted(self, name: str, on: Bits) -> Bits:
        """[outputs, inputs] bool: the weights of a tensor between neurons that are on; `on` is [neurons] bool."""
        always = np.concatenate([on, [True]])  # the last one is what NONE stands for
        table: Bits = always[self.outputs[name]][:, None] & always[self.inputs[name]][None, :]
        return table

    def with_any(self, tables: Mapping[str, Bits]) -> Bits:
        """[neurons] bool: those that have a weight among their outputs' and one among their inputs', where they have such at all.

        Args:
            tables: `{weight name: [outputs, inputs] bool}` weights that are there.
        """
        living = np.ones(self.count, dtype=np.bool_)
        for side, axis in ((self.outputs, 1), (self.inputs, 0)):
            there, known = (np.zeros(self.count + 1, dtype=np.bool_) for _ in range(2))
            for name, table in tables.items():
                known[side[name]] = True
                there[side[name][table.any(axis=axis)]] = True
            living &= (there | ~known)[:-1]
        return living
