"""Encoding `neuron-bits`: one bit for each neuron, and masks of single weights between those that are on.

A weight is wanted where the neuron that it feeds and the one that it reads are both on. Few bits for many weights, and no rule
about which weights matter: a search finds out which neurons a network can do without, and leaves the others densely connected.
Networks of that kind learn far better than those of as many weights scattered over all neurons.
"""

from __future__ import annotations

from math import prod

import numpy as np

from evoprune.errors import ConfigError
from evoprune.genome import BitGenome, Bits, Segment
from evoprune.mask_plan import MaskPlan
from evoprune.masks.maskable import MaskableWeight
from evoprune.masks.neurons import Neurons
from evoprune.masks.selection import Keys
from evoprune.masks.space import MaskSpace, UnitBits
from evoprune.seeding import SeedTree


class NeuronBits:
    """One bit per neuron, 1 keeps it.

    Wanted weights are kept first, the others where the goal has room for them. Among equals, those stay that come first in the
    first importance order, or without any in a fixed order drawn at random, the same for all genomes and steps.

    Args:
        space: Mask space of single weights that knows its neurons, with a number of weights to keep.

    Raises:
        ConfigError: The space has no goal, another structure, or no neurons.
    """

    def __init__(self, space: MaskSpace) -> None:
        self._space, self._neurons = space, _neurons_of(space)
        ends = np.cumsum([size for _, size in self._neurons.groups])
        self.segments: tuple[Segment, ...] = tuple(
            Segment(name, int(end) - size, size) for (name, size), end in zip(self._neurons.groups, ends, strict=True)
        )
        self._living = self._with_any(space.alive)
        self._ties = {weight.name: self._order(weight) for weight in space.weights}

    @property
    def length(self) -> int:
        """Bits in a genome."""
        return self._neurons.count

    def repair(self, genome: BitGenome) -> BitGenome:
        """The genome without neurons of which nothing is alive."""
        bits = genome.bits
        return genome if not (bits & ~self._living).any() else BitGenome.from_bits(bits & self._living)

    def decode(self, genome: BitGenome) -> MaskPlan:
        """The masks."""
        return self._space.plan(self.bits_of(genome))

    def bits_of(self, genome: BitGenome) -> dict[str, Bits]:
        """[units] bool per weight tensor."""
        on, keys = genome.bits, {}
        for weight in self._space.weights:
            wanted = self._neurons.wanted(weight.name, on)
            keys[weight.name] = self._ties[weight.name] + np.broadcast_to(wanted[..., None], _table(weight)).ravel()
        return self._space.choose(keys)

    def encode(self, bits: UnitBits, order: int = 0) -> BitGenome:
        """The genome that wants every neuron which these units give an input and an output; `order` says nothing here."""
        del order
        return BitGenome.from_bits(self._with_any(bits))

    def _with_any(self, bits: UnitBits) -> Bits:
        tables = {one.name: bits[one.name].reshape(_table(one)) for one in self._space.weights}
        return self._neurons.with_any({name: np.logical_or.reduce(table, axis=2) for name, table in tables.items()})

    def _order(self, weight: MaskableWeight) -> Keys:
        """[units] numbers from 0 to below 1, higher stays longer."""
        if not self._space.orders:
            return SeedTree(0).child("neuron-bits", weight.name).generator().random(weight.size, dtype=np.float32)
        first = next(iter(self._space.orders.values()))
        every = np.sort(np.concatenate([first[one.name] for one in self._space.weights]))
        return (np.searchsorted(every, first[weight.name]) / len(every)).astype(np.float32)


def _neurons_of(space: MaskSpace) -> Neurons:
    if space.kept is None or any(len(space.alive[one.name]) != one.size for one in space.weights):
        raise ConfigError(
            f"encoding neuron-bits needs sparsity goals (masks.goals) and single weights, not {space.structure} ones",
            "set masks.goals and masks.structure unstructured, or use weight-bits",
        )
    if space.neurons is None or not space.neurons.count:
        raise ConfigError(
            "encoding neuron-bits finds no neuron in this network that could go",
            "`evoprune inspect` says why; or use weight-bits",
        )
    return space.neurons


def _table(weight: MaskableWeight) -> tuple[int, int, int]:
    """Outputs, inputs, and weights where both meet."""
    outputs, inputs, *kernel = (*weight.rows_shape, 1)
    return outputs, inputs, prod(kernel)
