"""The cuts that the self-check tries: random ones, and those at which code that asks for widths takes another way."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fractions import Fraction
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

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """One way of cutting all groups, and of comparing the result.

    Attributes:
        number: Half of each group for 0, any other share for higher numbers.
        width: Positions that every group keeps instead, but for those that are narrower, which stay whole for 0.
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
        kept: dict[str, Fraction] = {}
        for place, group in enumerate(space.groups):
            generator = np.random.default_rng((_SEED, self.number, place))
            order = generator.permutation(group.size)
            taken = {kept[name] for name in space.neighbours[group.name] if name in kept}
            share = self._share(group, generator, taken)
            kept[group.name] = Fraction(group.size - share, group.size)
            if group.name in chosen:
                bits[group.start + order[:share]] = False
        return bits

    def _share(self, group: Group, generator: np.random.Generator, taken: Collection[Fraction]) -> int:
        """How many units go; where it is random, another part than goes of a neighbour: code may work out one from the other."""
        gone = 0 if self.width is None else group.size - max(1, self.width // _per_unit(group))
        if gone > 0 or (self.width is not None and not self.number):
            return max(0, gone)
        half = group.size // 2
        if self.number == 0:
            return half
        if group.size < 3:
            return 0 if Fraction(1, 2) in taken else half
        share = 1 + int(generator.integers(group.size - 2))
        first = group.size - 1 if share == half else share
        several = [first, *(other for other in range(1, group.size) if other not in (first, half)), half]
        return next((one for one in several if Fraction(group.size - one, group.size) not in taken), first)


def trials(
    space: PruningSpace, fixed_widths: Sequence[int], widths: Sequence[int], *, keeps_state: bool
) -> list[Trial]:
    """What a space has to pass, each a different cut: random shares, a single unit of everything, and equal widths in training.

    Equal widths of everything are tried, since code may ask whether two are equal, and a single unit of each, since code may
    take that dimension away (`squeeze`). Those in training mode read tensors that evaluation may leave alone.

    Args:
        space: Pruning space with at least one group.
        fixed_widths: Widths of dimensions that stay; others may come to equal them.
        widths: Those of them that have to be tried.
        keeps_state: Whether a pass changes what the model keeps: the model is cut after a pass, and runs twice.
    """
    widest = max(_width(group) for group in space.groups)
    asked = [width for width in widths if width < widest]
    equal = Trial(5, _common(space, fixed_widths), training=True)
    return [
        Trial(1, next(iter(asked), None), noise=True, calls=2 if keeps_state else 1, warm=keeps_state),
        equal,
        Trial(width=1),
        *(Trial(5, width) for width in asked[1:]),
    ]


def further_trials(space: PruningSpace, fixed_widths: Sequence[int]) -> list[Trial]:
    """What small models are tried with besides, as far as there is room: other shares, and another width that stays."""
    known = _known(space, fixed_widths)
    others = [width for width in known if width != _common(space, fixed_widths)]
    return [Trial(2, noise=True), *(Trial(5, width) for width in others[:1])]


def _common(space: PruningSpace, fixed_widths: Sequence[int]) -> int | None:
    least = min(_width(group) for group in space.groups)
    common = next((width for width in _known(space, fixed_widths) if width < least), 0) or least // 2
    return common if common > 1 else None


def _known(space: PruningSpace, fixed_widths: Sequence[int]) -> list[int]:
    widest = max(_width(group) for group in space.groups)
    return [width for width in fixed_widths if 1 < width < widest]


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
