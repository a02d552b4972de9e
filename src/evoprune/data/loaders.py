"""A user's own loaders, read as the seed alone orders them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from evoprune.data.base import Source
from evoprune.data.batches import Batch
from evoprune.data.indexed import IndexedPasses, at_rest
from evoprune.data.streams import StreamPasses
from evoprune.errors import DataError

Passes = IndexedPasses | StreamPasses


@dataclass(frozen=True, repr=False)
class LoaderSource:
    """A user's own `DataLoader`s, data sets, or other iterables of `(inputs, targets)` batches.

    A batch is what the loader yields, whole. What a `DataLoader` over an indexable data set reads, and in which order, depends on
    the seed alone; its batch size stands. Any other iterable is taken as it comes.

    Attributes:
        loaders: Iterables of batches, read one after the other; each can be iterated more than once.
        size: Samples to read at most; all when None.
        batch_dim: Dimension of the samples in the inputs, where nothing else tells their number.
    """

    loaders: tuple[Iterable[Any] | Dataset[Any], ...]
    size: int | None = None
    batch_dim: int | None = None
    passes: tuple[Passes, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.passes:
            object.__setattr__(self, "passes", tuple(_passes(loader, self.batch_dim) for loader in self.loaders))

    def __len__(self) -> int:
        total = sum(passes.samples for passes in self.passes)
        return total if self.size is None else min(total, self.size)

    def __repr__(self) -> str:
        return f"<{len(self):,} samples from {', '.join(type(one).__name__ for one in self.loaders)}>"

    def batches(self, batch_size: int, *, device: torch.device, seed: int | None = None) -> Iterator[Batch]:
        """The loaders' batches, moved to `device`; `batch_size` counts for data sets without a loader alone.

        Raises:
            DataError: A batch is not a pair of inputs and targets, or its samples can't be counted.
        """
        left = self.size
        for number, passes in enumerate(self.passes):
            order = None if seed is None else seed + number
            for batch in passes.read(batch_size, seed=order, limit=left):
                left = None if left is None else left - batch.samples
                yield batch.on(device)

    def batch_count(self, batch_size: int) -> int:
        """Batches that the loaders give in one pass."""
        return sum(passes.batch_count(batch_size) for passes in self.passes)

    def joined(self, other: Source) -> LoaderSource:
        """Both sets, one after the other."""
        if not isinstance(other, LoaderSource):
            raise DataError("a loader can only be joined with another loader")
        return replace(self, loaders=(*self.loaders, *other.loaders), passes=(*self.passes, *other.passes))

    def head(self, size: int) -> LoaderSource:
        """The first `size` samples in the loader's unshuffled order."""
        return replace(self, size=size)

    def __getstate__(self) -> dict[str, Any]:
        """Travels without worker processes."""
        return vars(self) | {"loaders": tuple(map(at_rest, self.loaders))}

    def close(self) -> None:
        """Stop the worker processes of loaders; they start again when needed."""
        for passes in self.passes:
            passes.close()


def _passes(loader: Any, batch_dim: int | None) -> Passes:
    if isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset):
        return IndexedPasses(loader, loader.dataset, batch_dim)
    if isinstance(loader, Dataset) or hasattr(loader, "__getitems__"):
        return IndexedPasses(None, loader, batch_dim)
    return StreamPasses(loader, batch_dim)
