"""A batch: inputs, targets, and how many samples they hold.

The rule for counting, where nothing that made the batch says how many samples it has:

1. `batch_dim`, if the user gave it, is the dimension of the samples in the first input tensor that has it.
2. Otherwise it is the first dimension, if all tensors of inputs and targets agree in it; of a list with one item per sample it
   is the length.
3. Otherwise it is the only size that all of them share: 16 for inputs [40, 16, 3] with targets [16].
4. Otherwise the batch is refused.

A batch is cut along a dimension of that size, one per tensor. Where it could be either of two, cutting is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from evoprune.data.trees import moved, rebuilt, tensors_in
from evoprune.errors import DataError

Sizes = tuple[int, ...]
Reread = Callable[[int, int], "Batch"]

KERNEL_WIDTH: Final = 8
"""Samples come in multiples of this where there is a choice: vector instructions of a CPU take so many numbers at once."""
_SAY: Final = "say which dimension counts the samples, Task(batch_dim=...), or give a DataLoader with a collate_fn"


class Batch(tuple[Any, Any]):
    """A pair (inputs, targets) with its number of samples; also (outputs, targets).

    Args:
        inputs: Inputs of the model, or its outputs.
        targets: Targets that the loss compares outputs with.
        samples: Number of samples that both hold.
        batch_dim: Dimension of the samples in tensors that could be read in two ways; None where it isn't known.
        reread: Makes a batch of the samples from one number up to another anew; None where tensors have to be cut.
    """

    samples: int

    def __new__(
        cls, inputs: Any, targets: Any, samples: int, *, batch_dim: int | None = None, reread: Reread | None = None
    ) -> Batch:
        """A pair that remembers its number of samples."""
        batch = super().__new__(cls, (inputs, targets))
        batch.samples, batch._batch_dim, batch._reread = samples, batch_dim, reread
        return batch

    _batch_dim: int | None
    _reread: Reread | None

    def part(self, start: int, stop: int) -> Batch:
        """The samples from `start` up to `stop`, as a batch.

        Raises:
            DataError: It isn't clear which dimension counts the samples.
        """
        if (start, stop) == (0, self.samples):
            return self
        if self._reread is not None and self._batch_dim is None:
            return self._reread(start, stop)
        try:
            inputs, targets = (_cut(side, self.samples, start, stop, self._batch_dim) for side in self)
        except DataError:
            if self._reread is None:
                raise
            return self._reread(start, stop)
        return Batch(inputs, targets, stop - start, batch_dim=0 if self.leads else self._batch_dim)

    def on(self, device: torch.device) -> Batch:
        """The batch with its tensors on `device`."""
        reread = self._reread
        again = None if reread is None else lambda start, stop: reread(start, stop).on(device)
        inputs, targets = (moved(side, device) for side in self)
        return Batch(inputs, targets, self.samples, batch_dim=self._batch_dim, reread=again)

    @property
    def known(self) -> bool:
        """Whether what made the batch, or the user, said how many samples it has."""
        return self._reread is not None or self._batch_dim is not None

    @property
    def leads(self) -> bool:
        """Whether the first dimension of every tensor is known to count the samples."""
        if self._reread is not None and self._batch_dim is None:
            return False
        try:
            return all(
                tensor.dim() > 0 and _dim(tensor, self.samples, self._batch_dim) == 0 for tensor in tensors_in([*self])
            )
        except DataError:
            return False


def as_batch(pair: Any, batch_dim: int | None = None) -> Batch:
    """A pair (inputs, targets) with its samples counted; a `Batch` as it is.

    Raises:
        DataError: It is no pair, or its samples can't be counted.
    """
    if isinstance(pair, Batch):
        return pair
    inputs, targets = pair_of(pair)
    return Batch(inputs, targets, count_samples(inputs, targets, batch_dim), batch_dim=batch_dim)


def pair_of(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of what a loader yields: a pair, or a mapping with `labels`, which is all of the inputs as well.

    Raises:
        DataError: It is neither.
    """
    if isinstance(batch, Mapping) and "labels" in batch:
        return batch, batch["labels"]
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise DataError(
            f"a data set must yield pairs (inputs, targets) or dicts with labels, not {_kind(batch)}",
            "give the loader a collate_fn that returns pairs",
        )
    return batch[0], batch[1]


def count_samples(inputs: Any, targets: Any, batch_dim: int | None = None) -> int:
    """Number of samples in a batch, by the rule of this module.

    Raises:
        DataError: It can't be told.
    """
    if batch_dim is not None:
        for tensor in tensors_in(inputs):
            if -tensor.dim() <= batch_dim < tensor.dim():
                return tensor.shape[batch_dim]
        raise DataError(f"batch_dim is {batch_dim}, but no input tensor of {describe(inputs)} has such a dimension")
    if targets is not None and sizes_of(targets) is None:
        raise DataError(
            f"a data set must yield pairs (inputs, targets) with one target per sample, not a single {_kind(targets)}",
            "a list of samples is no set of batches: give a Dataset or a DataLoader",
        )
    sides = [sizes for sizes in (sizes_of(inputs), sizes_of(targets)) if sizes is not None]
    if sides and all(sides):
        if len({sizes[0] for sizes in sides}) == 1:
            return sides[0][0]
        shared = _shared(sides)
        if len(shared) == 1:
            return shared[0]
    raise DataError(
        f"can't tell how many samples a batch of inputs {describe(inputs)} and targets {describe(targets)} holds", _SAY
    )


def micro_batch_bounds(samples: int, size: int) -> list[tuple[int, int]]:
    """Where to cut a batch into the fewest parts that fit: nearly even ones, because BatchNorm learns from each alone.

    All parts but the last are multiples of `KERNEL_WIDTH` where the batch is large enough for that.

    Args:
        samples: Number of samples in the batch, at least 1.
        size: Samples that a part may have, at least 1.

    Returns:
        Of each part, its first sample and the one after its last.
    """
    parts = math.ceil(samples / size)
    units, rest = divmod(samples, KERNEL_WIDTH)
    small, larger = divmod(units, parts)
    last = KERNEL_WIDTH * small + rest
    if small == 0 or last > size or KERNEL_WIDTH * (small + (larger > 0)) > size:
        return list(pairwise(samples * part // parts for part in range(parts + 1)))
    # The larger ones first: the last one takes the rest.
    return list(pairwise([KERNEL_WIDTH * (small * part + min(part, larger)) for part in range(parts)] + [samples]))


def describe(tree: Any) -> str:
    """The kind and shapes of a batch's side, for messages."""
    if isinstance(tree, Tensor):
        return str(list(tree.shape))
    if isinstance(tree, PackedSequence):
        return f"a packed sequence of {len(tree.batch_sizes)} steps"
    if isinstance(tree, Mapping):
        return "{" + ", ".join(f"{key}: {describe(value)}" for key, value in list(tree.items())[:4]) + "}"
    if isinstance(tree, (tuple, list)):
        more = ", ..." if len(tree) > 2 else ""
        return f"{type(tree).__name__} of {len(tree)} (" + ", ".join(map(describe, tree[:2])) + more + ")"
    return type(tree).__name__


def _kind(batch: Any) -> str:
    return f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, (Sequence, Mapping)) else type(batch).__name__


def sizes_of(tree: Any) -> Sizes | None:
    """Numbers of samples that `tree` may hold, the likeliest first; None where it doesn't say."""
    if isinstance(tree, PackedSequence):
        return (int(tree.batch_sizes[0]),)
    if isinstance(tree, (Tensor, np.ndarray)):
        return tuple(dict.fromkeys(tree.shape)) or None
    if isinstance(tree, (list, tuple)) and not hasattr(tree, "_fields"):
        return _sizes_of_items(tree)
    found = [sizes for sizes in map(sizes_of, _parts(tree)) if sizes is not None]
    return _shared(found) if found else None


def _sizes_of_items(items: Sequence[Any]) -> Sizes:
    """Samples in a list: it holds either one item per sample, or tensors that each hold all samples."""
    found = [sizes_of(item) if isinstance(item, (Tensor, PackedSequence, list, tuple)) else None for item in items]
    shared = _shared([sizes for sizes in found if sizes is not None]) if found and None not in found else ()
    return tuple(dict.fromkeys((*shared, len(items))))


def _shared(found: Sequence[Sizes]) -> Sizes:
    return tuple(size for size in found[0] if all(size in other for other in found[1:]))


def _parts(tree: Any) -> list[Any]:
    parts: list[Any] = []

    def note(child: Any) -> Any:
        parts.append(child)
        return child

    rebuilt(tree, note)
    return parts


def _cut(tree: Any, samples: int, start: int, stop: int, batch_dim: int | None) -> Any:
    """Samples from `start` up to `stop` of one side of a batch."""

    def cut(node: Any) -> Any:
        if isinstance(node, Tensor):
            return node if node.dim() == 0 else node.narrow(_dim(node, samples, batch_dim), start, stop - start)
        if isinstance(node, np.ndarray) and node.ndim:
            return node[start:stop] if node.shape[0] == samples else _refuse(node.shape, samples)
        if isinstance(node, PackedSequence):
            return _cut_packed(node, start, stop)
        if isinstance(node, (list, tuple)) and not hasattr(node, "_fields"):
            return rebuilt(node, cut) if _are_parts(node, samples) else node[start:stop]
        if isinstance(node, Mapping) or is_dataclass(node) or hasattr(node, "_fields"):
            return rebuilt(node, cut)
        if next(tensors_in(node), None) is not None:
            raise DataError(f"can't cut a {type(node).__name__} into samples", _SAY)
        return node

    return cut(tree)


def _dim(tensor: Tensor, samples: int, batch_dim: int | None) -> int:
    """The dimension of a tensor that counts the samples."""
    places = [place for place, size in enumerate(tensor.shape) if size == samples]
    if batch_dim is not None and batch_dim % tensor.dim() in places:
        return batch_dim % tensor.dim()
    if len(places) == 1 or (places[:1] == [0] and not _may_be_time_first(tensor)):
        return places[0]
    return _refuse(tensor.shape, samples)


def _may_be_time_first(tensor: Tensor) -> bool:
    """Whether a tensor of as many steps as samples may be [time, batch, features], or tokens [time, batch]."""
    tokens = tensor.dim() == 2 and not tensor.is_floating_point()
    return (tokens or tensor.dim() == 3) and tensor.shape[0] == tensor.shape[1]


def _are_parts(items: Sequence[Any], samples: int) -> bool:
    """Whether a list holds tensors of all samples; otherwise it has one item per sample."""
    whole = all(isinstance(item, (Tensor, PackedSequence, list, tuple)) for item in items) and all(
        samples in (sizes_of(item) or (samples,)) for item in items
    )
    if whole == (len(items) == samples):
        raise DataError(f"can't tell which part of a {describe(items)} belongs to which of {samples} samples", _SAY)
    return whole


def _refuse(shape: Sequence[int], samples: int) -> int:
    raise DataError(f"can't tell which dimension of {list(shape)} counts the {samples} samples of its batch", _SAY)


def _cut_packed(packed: PackedSequence, start: int, stop: int) -> PackedSequence:
    padded, lengths = pad_packed_sequence(packed)
    return pack_padded_sequence(
        padded[:, start:stop], lengths[start:stop], enforce_sorted=packed.sorted_indices is None
    )
