"""A user's own loaders, read as the seed alone orders them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, Subset, SubsetRandomSampler

from evoprune.errors import DataError
from evoprune.sources.base import Batch, Source


@dataclass(frozen=True)
class LoaderSource:
    """A user's own iterable of `(inputs, targets)` batches, a `DataLoader` above all.

    A `DataLoader` over an indexable data set is rebuilt for every pass with a generator of its own, so that the order depends on
    the seed alone. Any other iterable is taken as it comes. The loader's own batch size stands.

    Attributes:
        loaders: Iterables that can be iterated again, read one after the other.
        size: Samples to read at most; all when None.
    """

    loaders: tuple[Iterable[Batch], ...]
    size: int | None = None

    def __len__(self) -> int:
        total = sum(_count(loader) for loader in self.loaders)
        return total if self.size is None else min(total, self.size)

    def batches(self, batch_size: int, *, device: torch.device, seed: int | None = None) -> Iterator[Batch]:
        """The loaders' batches, moved to `device`; `batch_size` is the loaders' own affair.

        Raises:
            DataError: A batch is not a pair of inputs and targets.
        """
        left = sys.maxsize if self.size is None else self.size
        for number, loader in enumerate(self.loaders):
            for batch in _seeded(loader, None if seed is None else seed + number):
                if left <= 0:
                    return
                inputs, targets = _pair(batch)
                taken = min(left, len(targets))
                left -= taken
                yield _cut(inputs, taken, device), _cut(targets, taken, device)

    def batch_count(self, batch_size: int) -> int:
        """Batches that the loaders give in one pass, whatever `batch_size` is asked of them."""
        del batch_size
        return sum(_count_batches(loader) for loader in self.loaders)

    def joined(self, other: Source) -> LoaderSource:
        """Both sets, one after the other."""
        if not isinstance(other, LoaderSource):
            raise DataError("a loader can only be joined with another loader")
        return LoaderSource((*self.loaders, *other.loaders))

    def head(self, size: int) -> LoaderSource:
        """The first `size` samples in the loader's unshuffled order."""
        return replace(self, size=size)


def samples_of(loader: Any) -> tuple[Any, set[int] | None]:
    """The data set that a loader reads from, below all subsets, and the rows that it reads; None for all."""
    dataset = getattr(loader, "dataset", None)
    sampler = getattr(loader, "sampler", None)
    rows: Any = sampler.indices if isinstance(sampler, SubsetRandomSampler) else None
    while isinstance(dataset, Subset):
        rows = dataset.indices if rows is None else [dataset.indices[row] for row in rows]
        dataset = dataset.dataset
    return dataset, None if rows is None else set(map(int, rows))


def _seeded(loader: Iterable[Batch], seed: int | None) -> Iterable[Batch]:
    """The loader as the seed alone orders it; nothing is drawn from torch's global generator."""
    if not isinstance(loader, DataLoader):
        return loader
    dataset: Any = loader.dataset
    generator = torch.Generator().manual_seed(seed or 0)
    sampler = copy.copy(loader.sampler)
    if loader.batch_size is None or not hasattr(sampler, "generator"):
        # Every pass draws a seed for worker processes, even where there are none.
        own = copy.copy(loader)
        own.generator = generator
        return own
    sampler.generator = generator
    return DataLoader(
        dataset,
        batch_size=loader.batch_size,
        sampler=SequentialSampler(dataset) if seed is None and isinstance(sampler, RandomSampler) else sampler,
        collate_fn=loader.collate_fn,
        drop_last=loader.drop_last and seed is not None,
        generator=generator,
    )


def _count(loader: Iterable[Batch]) -> int:
    if getattr(loader, "batch_sampler", loader) is not None:  # without one, a data set yields whole batches
        for samples in (getattr(loader, "sampler", None), getattr(loader, "dataset", None)):
            if isinstance(samples, Sized):
                return len(samples)
    return sum(len(_pair(batch)[1]) for batch in _seeded(loader, None))


def _cut(value: Any, size: int, device: torch.device) -> Any:
    """The first `size` samples of a batch, on `device`: a tensor, or containers of them."""
    if isinstance(value, Tensor):
        return value[:size].to(device)
    if isinstance(value, dict):
        return {key: _cut(item, size, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cut(item, size, device) for item in value)
    return value


def _count_batches(loader: Iterable[Batch]) -> int:
    if isinstance(loader, Sized):
        return len(loader)
    return sum(1 for _ in _seeded(loader, None))


def _pair(batch: Any) -> Batch:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not hasattr(batch[1], "__len__"):
        kind = f"{type(batch).__name__} of {len(batch)}" if isinstance(batch, Sized) else type(batch).__name__
        raise DataError(f"a data set must yield pairs (inputs, targets), one target per sample, not a {kind}")
    return batch[0], batch[1]
