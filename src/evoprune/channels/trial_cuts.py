"""The cuts that the self-check tries: random ones, and those at which code that asks for widths takes another way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from evoprune.data.trees import tensors_in
from evoprune.nn_utils.calling import named_tensors
from evoprune.plan import PruningPlan
from evoprune.space.groups import Group
from evoprune.space.pruning_space import PruningSpace

_SEED: Final = 20240807
_MOST_WIDTHS: Final = 2
"""Widths of what can't be pruned that are tried for everything else, in small models."""


Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """One way of cutting all groups, and of comparing the result.

    Attributes:
        number: Half of each group for 0, any other share for higher numbers.
        width: Positions that every group keeps instead, whatever its size; those that are narrower stay whole.
        noise: Whether what is removed is filled with noise in the reference.
        training: Whether the networks run in training mode, forward and backward.
        calls: Number of forward passes in a row.
        warm: Whether the network has run before it is cut.
    """

    number: int = 0
    width: int | None = None
    noise: bool = False
    training: bool = False
    calls: int = 1
    warm: bool = False

    def plan(self, space: PruningSpace, groups: Collection[Group]) -> PruningPlan:
        """The cut of `groups`; the others stay whole. The same at every call."""
        return space.plan(self.bits(space, groups))

    def bits(self, space: PruningSpace, groups: Collection[Group]) -> Bits:
        """[space.size], True for what stays."""
        bits = np.ones(space.size, dtype=np.bool_)
        chosen = {group.name for group in groups}
        for place, group in enumerate(space.groups):
            generator = np.random.default_rng((_SEED, self.number, place))
            order = generator.permutation(group.size)
            share = self._share(group, generator)
            if group.name in chosen:
                bits[group.start + order[:share]] = False
        return bits

    def _share(self, group: Group, generator: np.random.Generator) -> int:
        """How many units go."""
        if self.width is not None:
            return max(0, group.size - max(1, self.width // _per_unit(group)))
        half = group.size // 2
        if self.number == 0 or group.size < 3:
            return half
        share = 1 + int(generator.integers(group.size - 2))
        return group.size - 1 if share == half else share


def trials(space: PruningSpace, fixed_widths: Sequence[int], *, many: bool, keeps_state: bool) -> list[Trial]:
    """What to try, cheap forward passes allowing `many` or not.

    Equal widths of everything are tried, since code may ask whether two are equal, and a single unit of each, since code may
    take that dimension away (`squeeze`); in training mode as well, where other tensors are read.

    Args:
        space: Pruning space with at least one group.
        fixed_widths: Widths of dimensions that stay; others may come to equal them.
        many: Whether passes are cheap.
        keeps_state: Whether a pass changes what the model keeps.
    """
    widest = max(_width(group) for group in space.groups)
    least = min(_width(group) for group in space.groups)
    known = [width for width in fixed_widths if 1 < width < widest]
    common = next((width for width in known if width < least), 0) or least // 2
    equal = [common] if common > 1 else []
    state = [Trial(calls=2), Trial(warm=True)] if keeps_state else []
    if not many:
        narrow = Trial(5, next(iter(equal), None), training=True)  # the only one that runs backward
        return [Trial(1, noise=True), narrow, Trial(width=1), *state]
    others = [width for width in known if width != common][:_MOST_WIDTHS]
    return [
        Trial(),
        *(Trial(number, noise=True) for number in range(1, 5)),
        *(Trial(5, width) for width in (*equal, *others)),
        Trial(width=1),
        Trial(training=True),
        Trial(width=1, training=True),
        *state,
    ]


def widths_that_stay(model: nn.Module, example_inputs: object, space: PruningSpace) -> list[int]:
    """Lengths of what no cut changes, inputs first, each once: dimensions of inputs and parameters."""
    inputs = [size for tensor in tensors_in(example_inputs) for size in tensor.shape[1:]]
    stay = [
        size
        for name, tensor in named_tensors(model).items()
        for dim, size in enumerate(tensor.shape[:2])
        if (name, dim) not in space.axis_sizes
    ]
    return list(dict.fromkeys([*inputs, *stay]))


def _per_unit(group: Group) -> int:
    return max(1, len(group.members[0].unit) // group.size)


def _width(group: Group) -> int:
    return group.size * _per_unit(group)
