"""Labels: which atoms the positions of a tensor belong to, and what the trace learned about the atoms.

An *atom* is one index of one dimension of one parameter or buffer. The label of a tensor's dimension is a vector with the atom of
every position; 0 stands for a position that can't be removed. A dimension without a label has a fixed size. A label that would
vary along two dimensions at once can't exist: atoms are tied until it doesn't (`Couplings.tie`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.int64]

FIXED = 0


@dataclass(frozen=True)
class Labels:
    """What is known about one tensor.

    Attributes:
        dims: `{dimension: atoms}` with one atom per position.
        active: Whether its values depend on the model's input, rather than on parameters and constants alone.
    """

    dims: Mapping[int, Vector] = field(default_factory=dict)
    active: bool = False


@dataclass(frozen=True)
class Block:
    """The atoms of one dimension of one parameter or buffer: `start` to `start + size`."""

    tensor: str
    dim: int
    start: int
    size: int


@dataclass(frozen=True)
class Production:
    """A layer's output dimension came into being: which atoms, by which kind of layer, in which module."""

    atoms: Vector
    layer_type: str
    module: str


@dataclass(frozen=True)
class Split:
    """A module spread one labelled dimension over several.

    Attributes:
        atoms: The label before.
        module: Name of the module that did.
        kept_as_one: Size of the dimension that stays prunable.
        dims: Number of dimensions that it was spread over.
    """

    atoms: Vector
    module: str
    kept_as_one: int
    dims: int = 1


@dataclass(frozen=True, eq=False)
class ModuleCall:
    """One call of a module.

    Attributes:
        inputs: `{dimension: atoms}` of every tensor among the arguments, positional ones first, in the order of `tensors_in`.
        outputs: The same of what it returned.
    """

    inputs: tuple[Mapping[int, Vector], ...]
    outputs: tuple[Mapping[int, Vector], ...]


@dataclass(frozen=True)
class Sizing:
    """A module's attribute says how long some parts of a dimension are, and has to follow when they are cut.

    Attributes:
        module: Name of the module.
        attribute: Name of the attribute.
        parts: Labels of the parts, one for each number that it holds.
        several: Whether it is a list or tuple of numbers.
    """

    module: str
    attribute: str
    parts: tuple[Vector, ...]
    several: bool


@dataclass(frozen=True)
class PlainNorm:
    """A layer without weights normalises a dimension.

    Attributes:
        module: Name of the layer.
        atoms: Label of the dimension.
    """

    module: str
    atoms: Vector


@dataclass(frozen=True)
class Work:
    """What one contraction costs: `flops` times the lengths of `extents`.

    Attributes:
        flops: FLOPs per element of the product of the extents.
        extents: Labels of the dimensions that set its size.
        guards: Labels that have to stay whole for this to hold.
        caveat: Says why it does not hold when a guard is cut, or without guards when the last extent falls to 1; else empty.
    """

    flops: int
    extents: tuple[Vector, ...]
    guards: tuple[Vector, ...] = ()
    caveat: str = ""


class Couplings:
    """Atoms with the ties, freezes and roles that a trace collects.

    Attributes:
        alike: Pairs of labels of parameters that a weight is computed from, so that what reads one reads the other.
        pairs: Labels of which at least two positions have to stay, and why.
        keeps_state: Whether a pass changed what the model keeps besides its parameters.
        reads: Modules and attributes of theirs that hold sizes and were read.
        calls: Per module the calls of it in evaluation mode.
    """

    def __init__(self) -> None:
        self.blocks: dict[tuple[str, int], Block] = {}
        self.atoms = 1
        self.ties: list[tuple[Vector, Vector]] = []
        self.frozen: list[tuple[Vector, str]] = []
        self.consumed: list[Vector] = []
        self.alike: list[tuple[Vector, Vector]] = []
        self.multiplied: list[Vector] = []
        self.pairs: list[tuple[Vector, str]] = []
        self.productions: list[Production] = []
        self.splits: list[Split] = []
        self.reshapes: list[Split] = []
        self.sizings: list[Sizing] = []
        self.plain_norms: list[PlainNorm] = []
        self.blind: list[tuple[str, str]] = []
        self.work: list[Work] = []
        self.keeps_state = False
        self.reads: set[tuple[str, str]] = set()
        self.calls: dict[str, list[ModuleCall]] = {}

    def copy(self) -> Couplings:
        """The same, to be added to."""
        twin = copy.copy(self)
        vars(twin).update({name: copy.copy(value) for name, value in vars(self).items()})
        return twin

    def block(self, tensor: str, dim: int, size: int) -> Vector:
        """The atoms of a dimension, new ones at the first call."""
        block = self.blocks.get((tensor, dim))
        if block is None:
            block = self.blocks[tensor, dim] = Block(tensor, dim, self.atoms, size)
            self.atoms += size
        return np.arange(block.start, block.start + block.size, dtype=np.int64)

    def tie(self, first: Vector, second: Vector, reason: str) -> None:
        """Position by position: these go together. A partner of a fixed position is frozen for `reason`."""
        fixed = (first == FIXED) | (second == FIXED)
        if fixed.any():
            self.freeze(np.concatenate([first[fixed], second[fixed]]), reason)
            first, second = first[~fixed], second[~fixed]
        if not np.array_equal(first, second):
            self.ties.append((first, second))

    def tie_rows(self, rows: Vector, reason: str) -> Vector:
        """Tie the columns of `rows` [n, m] to each other, so that one row [m] stands for all."""
        if len(rows) > 1:
            self.tie(np.broadcast_to(rows[:1], rows[1:].shape).ravel(), rows[1:].ravel(), reason)
        fixed = (rows == FIXED).any(axis=0)
        return np.where(fixed, FIXED, rows[0])

    def freeze(self, atoms: Vector, reason: str) -> None:
        """These can't be removed."""
        atoms = atoms[atoms != FIXED]
        if atoms.size:
            self.frozen.append((np.unique(atoms), reason))

    def freeze_first(self, block: Block, reason: str) -> None:
        """Freeze a whole dimension for a reason that comes before all others."""
        self.frozen.insert(0, (np.arange(block.start, block.start + block.size, dtype=np.int64), reason))
