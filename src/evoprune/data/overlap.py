"""Whether two sets share samples, as far as their memory and their rows tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Subset, SubsetRandomSampler, TensorDataset

from evoprune.data.base import Source
from evoprune.data.loaders import LoaderSource
from evoprune.data.tensors import TensorSource

Rows = NDArray[np.int64]


def overlap(first: Source, second: Source) -> bool:
    """Whether a sample is known to be in both sets; copies of one are not known."""
    if isinstance(first, TensorSource) and isinstance(second, TensorSource):
        return first.shares_samples_with(second)
    if isinstance(first, LoaderSource) and isinstance(second, LoaderSource):
        return any(_loaders_overlap(one, other) for one in first.loaders for other in second.loaders)
    return first is second


def _loaders_overlap(first: Any, second: Any) -> bool:
    if first is second:
        return True
    return any(_parts_overlap(*one, *other) for one in _parts_of(first) for other in _parts_of(second))


def _parts_overlap(one: Any, rows: Rows | None, other: Any, other_rows: Rows | None) -> bool:
    if one is other:
        return rows is None or other_rows is None or bool(np.isin(rows, other_rows).any())
    if isinstance(one, TensorDataset) and isinstance(other, TensorDataset):
        pairs = [(a, b) for a in _inputs(one) for b in _inputs(other)]
        return any(_tensors_overlap(a, rows, b, other_rows) for a, b in pairs)
    return False


def _parts_of(loader: Any) -> Iterator[tuple[Any, Rows | None]]:
    """The data sets that a loader reads from, below all subsets and concatenations, and the rows that it reads; None for all."""
    if isinstance(loader, DataLoader):
        yield from _below(loader.dataset, _rows_read(loader))
    else:
        yield from _below(loader, None)


def _rows_read(loader: DataLoader[Any]) -> Rows | None:
    batches: Any = loader.batch_sampler
    if isinstance(batches, (list, tuple)):
        return np.array([row for batch in batches for row in batch], dtype=np.int64)
    sampler: Any = getattr(batches, "sampler", loader.sampler)
    rows = sampler.indices if isinstance(sampler, SubsetRandomSampler) else sampler
    return np.array([int(row) for row in rows], dtype=np.int64) if isinstance(rows, (Sequence, Tensor)) else None


def _below(dataset: Any, rows: Rows | None) -> Iterator[tuple[Any, Rows | None]]:
    if isinstance(dataset, Subset):
        own = np.array([int(row) for row in dataset.indices], dtype=np.int64)
        yield from _below(dataset.dataset, own if rows is None else own[rows])
    elif isinstance(dataset, ConcatDataset):
        for part, (start, stop) in zip(dataset.datasets, pairwise([0, *dataset.cumulative_sizes]), strict=True):
            inside = None if rows is None else rows[(rows >= start) & (rows < stop)] - start
            yield from _below(part, inside)
    else:
        yield dataset, rows


def _inputs(dataset: TensorDataset) -> Sequence[Tensor]:
    """All tensors but the targets: two sets may well have the same targets for different inputs."""
    return dataset.tensors[: max(1, len(dataset.tensors) - 1)]


def _tensors_overlap(one: Tensor, rows: Rows | None, other: Tensor, other_rows: Rows | None) -> bool:
    first, second = _base(one), _base(other)
    if first is second and _has_rows_of(one, first) and _has_rows_of(other, first):
        # Rows of one tensor, perhaps in two parts such as x[:, :3] and x[:, 3:].
        step = first.stride(0) * first.element_size()
        start = first.data_ptr()
        return bool(np.isin((_starts(one, rows) - start) // step, (_starts(other, other_rows) - start) // step).any())
    if one.device != other.device or not _has_rows_of(one, one) or not _has_rows_of(other, other):
        return False
    return bool(np.isin(_starts(one, rows), _starts(other, other_rows)).any())


def _starts(tensor: Tensor, rows: Rows | None) -> Rows:
    """Addresses where the rows of a tensor begin: two tensors may be views of one numpy array, which torch doesn't know."""
    chosen = np.arange(len(tensor)) if rows is None else rows % len(tensor)
    return np.asarray(tensor.data_ptr() + chosen * tensor.stride(0) * tensor.element_size())


def _base(tensor: Tensor) -> Tensor:
    return tensor if tensor._base is None else tensor._base


def _has_rows_of(tensor: Tensor, base: Tensor) -> bool:
    """Whether each row of a view lies in a row of its base, and rows have memory of their own."""
    if tensor.layout != torch.strided or base.layout != torch.strided or tensor.numel() == 0 or tensor.dim() == 0:
        return False
    return base.dim() > 0 and base.stride(0) > 0 and tensor.stride(0) > 0 and tensor.stride(0) % base.stride(0) == 0
