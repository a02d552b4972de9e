"""Which positions of a module's inputs and outputs belong to which units, read off the labels of a trace."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evoprune.channels.trial_cuts import Bits
from evoprune.data.trees import map_tensors
from evoprune.space.analysis import Traced
from evoprune.space.groups import Group
from evoprune.space.pruning_space import PruningSpace
from evoprune.space.tracing.labels import Vector

Dims = Mapping[int, Vector]


class Positions:
    """Translates labels into units of a space.

    Args:
        space: Pruning space, made from `found.space`.
        found: Trace that the labels are of.
    """

    def __init__(self, space: PruningSpace, found: Traced) -> None:
        self._space = space
        self._unit = np.full(max(1, found.atoms), -1, dtype=np.int64)
        for group in space.groups:
            for member in group.members:
                self._unit[found.starts[member.tensor, member.dim] + member.index] = group.start + member.unit

    def groups_of(self, several: Iterable[Dims]) -> list[Group]:
        """Groups that reach into any of the labels, in order."""
        atoms = [label for dims in several for label in dims.values()]
        units = np.concatenate([self._unit[label] for label in atoms]) if atoms else np.empty(0, dtype=np.int64)
        touched = set(units[units >= 0].tolist())
        return [group for group in self._space.groups if not touched.isdisjoint(range(group.start, group.stop))]

    def cut(self, tree: Any, labels: Sequence[Dims], bits: Bits) -> Any:
        """`tree` with only the kept positions of every tensor; nothing of it is shared."""
        return _changed(
            tree, labels, lambda tensor, dim, keep: tensor.index_select(dim, _where(keep, tensor)), self, bits
        )

    def fill(self, tree: Any, labels: Sequence[Dims], bits: Bits, generator: torch.Generator) -> Any:
        """`tree` with noise of the size of the other values at the positions that go, which a masked network leaves empty."""

        def noise(tensor: Tensor, dim: int, keep: NDArray[np.bool_]) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            gone, rest = (tensor.index_select(dim, _where(chosen, tensor)) for chosen in (~keep, keep))
            drawn = torch.randn(gone.shape, generator=generator).to(tensor)
            scale = rest[rest.isfinite()].std().nan_to_num(1.0) if rest.numel() > 1 else 1.0
            return tensor.index_copy(dim, _where(~keep, tensor), drawn * scale)

        return _changed(tree, labels, noise, self, bits)

    def kept(self, label: Vector, bits: Bits) -> NDArray[np.bool_]:
        """[n] whether each position of a labelled dimension stays."""
        units = self._unit[label]
        stays = np.ones(len(units), dtype=np.bool_)
        stays[units >= 0] = bits[units[units >= 0]]
        return stays


def _where(chosen: NDArray[np.bool_], tensor: Tensor) -> Tensor:
    return torch.as_tensor(np.flatnonzero(chosen), device=tensor.device)


def _changed(tree: Any, labels: Sequence[Dims], change: Any, positions: Positions, bits: Bits) -> Any:
    left = iter(labels)

    def one(tensor: Tensor) -> Tensor:
        result = tensor.detach().clone()
        for dim, label in next(left, {}).items():
            keep = positions.kept(label, bits)
            if not keep.all():
                result = change(result, dim, keep)
        return result

    return map_tensors(tree, one)
