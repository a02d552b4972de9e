"""What a model is for: the data it learns from, is selected by and is judged by, a loss and a metric."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, Subset, SubsetRandomSampler

from evoprune.errors import DataError

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]
Metric = Callable[[Any, Any], Tensor]


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Top-1 correctness of each sample: outputs [n, classes, ...], targets [n, ...] -> [n, ...] bool."""
    return outputs.argmax(dim=1) == targets


@dataclass(frozen=True)
class Preprocessing:
    """How stored images become network input: `(image / 255 - mean) / std` per channel.

    Attributes:
        mean: One value per channel, in units of 0 to 1.
        std: One positive value per channel, in units of 0 to 1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


@runtime_checkable
class Source(Protocol):
    """A data set that can be read again and again, in any batch size, on any device."""

    def __len__(self) -> int:
        """Number of samples."""

    def batches(self, batch_size: int, *, device: torch.device, seed: int | None = None) -> Iterator[Batch]:
        """One pass over the set: in order without a seed, shuffled by nothing but the seed with one."""

    def joined(self, other: Source) -> Source:
        """Both sets as one, for the final training."""

    def head(self, size: int) -> Source:
        """A fixed subset of at most `size` samples, the same at every call."""


@dataclass(frozen=True)
class TensorSource:
    """Images kept in memory as bytes and normalised a batch at a time on the device that needs them.

    Attributes:
        images: [n, c, h, w] uint8.
        labels: [n] int64.
        preprocessing: Normalisation for the network.
        indices: [m] int64 rows that belong to this set, in order; all when None.
    """

    images: Tensor
    labels: Tensor
    preprocessing: Preprocessing
    indices: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or len(self.images) != len(self.labels):
            raise DataError(
                f"images must be [n, c, h, w] uint8 with one label each, not {list(self.images.shape)} "
                f"{self.images.dtype} with {len(self.labels)} labels"
            )

    def __len__(self) -> int:
        return len(self.labels) if self.indices is None else len(self.indices)

    @property
    def rows(self) -> Tensor:
        """[m] int64: the rows of `images` in this set."""
        return torch.arange(len(self.labels)) if self.indices is None else self.indices

    def batches(self, batch_size: int, *, device: torch.device, seed: int | None = None) -> Iterator[Batch]:
        """Images [b, c, h, w] float32, normalised, channels last where there are several; labels [b] int64."""
        rows = self.rows
        if seed is not None:
            rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
        scale, shift = self._affine(device)
        for chosen in rows.split(batch_size):
            images = self.images[chosen].to(device)
            yield torch.addcmul(shift, images.float(), scale), self.labels[chosen].to(device)

    def _affine(self, device: torch.device) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.preprocessing.mean).view(1, -1, 1, 1)
        std = torch.tensor(self.preprocessing.std).view(1, -1, 1, 1)
        return (1 / (255 * std)).to(device), (-mean / std).to(device)

    def joined(self, other: Source) -> TensorSource:
        """This set and another of such images; their bytes are copied unless both are cut from one tensor."""
        form = (self.images.shape[1:], self.preprocessing)
        if not isinstance(other, TensorSource) or (other.images.shape[1:], other.preprocessing) != form:
            raise DataError("only sets of images of one shape and preprocessing can be joined")
        if other.images is self.images:
            return replace(self, indices=torch.cat([self.rows, other.rows]))
        images = torch.cat([self.images[self.rows], other.images[other.rows]])
        return TensorSource(images, torch.cat([self.labels[self.rows], other.labels[other.rows]]), self.preprocessing)

    def head(self, size: int) -> TensorSource:
        """The first `size` samples; the split that made the set has shuffled them already."""
        return replace(self, indices=self.rows[:size])

    def shares_samples_with(self, other: TensorSource) -> bool:
        """Whether a row of the same images is in both sets."""
        same = self.images.data_ptr() == other.images.data_ptr()
        return same and bool(torch.isin(self.rows, other.rows).any())


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
        """The loaders' batches, moved to `device`; `batch_size` is the loaders' own affair."""
        left = sys.maxsize if self.size is None else self.size
        for number, loader in enumerate(self.loaders):
            for inputs, targets in _seeded(loader, None if seed is None else seed + number):
                if left <= 0:
                    return
                taken = min(left, len(targets))
                left -= taken
                yield _cut(inputs, taken, device), _cut(targets, taken, device)

    def joined(self, other: Source) -> LoaderSource:
        """Both sets, one after the other."""
        if not isinstance(other, LoaderSource):
            raise DataError("a loader can only be joined with another loader")
        return LoaderSource((*self.loaders, *other.loaders))

    def head(self, size: int) -> LoaderSource:
        """The first `size` samples in the loader's unshuffled order."""
        return replace(self, size=size)


@dataclass(frozen=True)
class Task:
    """The job of a model. The three sets must not overlap: evolution looks at `select` only, `test` is read once at the end.

    Attributes:
        train: What fine-tuning and retraining learn from: a `DataLoader`, another re-iterable of batches, or a `Source`.
        select: What candidates are scored on.
        test: What finished models are judged by.
        loss: `loss(outputs, targets)` -> scalar tensor, the mean over the batch.
        metric: `metric(outputs, targets)` -> one value per sample, or their mean as a scalar; higher is better.
        class_names: For reports.

    Raises:
        DataError: A set is empty, can be read only once, shares samples with another, or train and select can't be joined.
    """

    train: Source
    select: Source
    test: Source
    loss: Loss = functional.cross_entropy
    metric: Metric = accuracy
    class_names: Sequence[str] = ()

    def __init__(
        self,
        train: Source | Iterable[Batch],
        select: Source | Iterable[Batch],
        test: Source | Iterable[Batch],
        loss: Loss = functional.cross_entropy,
        metric: Metric = accuracy,
        class_names: Sequence[str] = (),
    ) -> None:
        given = {"train": train, "select": select, "test": test}
        sources = {name: as_source(data, name) for name, data in given.items()}
        _check_disjoint(sources)
        # The final training needs them as one; better to hear now that they can't be than after the search.
        sources["train"].head(1).joined(sources["select"].head(1))
        for name, value in {**sources, "loss": loss, "metric": metric, "class_names": tuple(class_names)}.items():
            object.__setattr__(self, name, value)


def as_source(data: Source | Iterable[Batch], name: str) -> Source:
    """Whatever the user gave as a set, as a `Source`; `name` is for the error message."""
    source = data if isinstance(data, Source) else _loader_source(data, name)
    if len(source) == 0:
        raise DataError(f"the {name} set is empty")
    return source


def _loader_source(data: Iterable[Batch], name: str) -> LoaderSource:
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes, Tensor)):
        raise DataError(f"the {name} set must be an iterable of (inputs, targets) batches, not {type(data).__name__}")
    if isinstance(data, Iterator):
        raise DataError(
            f"the {name} set can be read only once", "give a DataLoader or a list of batches, not an iterator"
        )
    return LoaderSource((data,))


def _check_disjoint(sources: dict[str, Source]) -> None:
    names = list(sources)
    for position, first in enumerate(names):
        for second in names[position + 1 :]:
            if _overlap(sources[first], sources[second]):
                raise DataError(
                    f"the {first} and {second} sets share samples", "cut the select set from train, never from test"
                )


def _overlap(first: Source, second: Source) -> bool:
    if isinstance(first, TensorSource) and isinstance(second, TensorSource):
        return first.shares_samples_with(second)
    if isinstance(first, LoaderSource) and isinstance(second, LoaderSource):
        return any(_loaders_overlap(one, other) for one in first.loaders for other in second.loaders)
    return first is second


def _loaders_overlap(first: Iterable[Batch], second: Iterable[Batch]) -> bool:
    if first is second:
        return True
    (one, rows), (other, other_rows) = _samples(first), _samples(second)
    same = one is not None and one is other
    return same and (rows is None or other_rows is None or not rows.isdisjoint(other_rows))


def _samples(loader: Any) -> tuple[Any, set[int] | None]:
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
    return sum(len(targets) for _, targets in _seeded(loader, None))


def _cut(value: Any, size: int, device: torch.device) -> Any:
    """The first `size` samples of a batch, on `device`: a tensor, or containers of them."""
    if isinstance(value, Tensor):
        return value[:size].to(device)
    if isinstance(value, dict):
        return {key: _cut(item, size, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cut(item, size, device) for item in value)
    return value
