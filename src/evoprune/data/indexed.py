"""Passes over data sets that are read by index, each batch with a seed of its own."""

from __future__ import annotations

import copy
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
    get_worker_info,
)

from evoprune.data.batches import Batch, as_batch, pair_of
from evoprune.data.collated import samples_left
from evoprune.data.own_generators import Generator, own_generators, seeded
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree

_PROBED: Final = 5


class Request(NamedTuple):
    """One batch to read: the seed of its augmentation, and the indices; a bare index names a whole batch of a data set."""

    seed: int
    indices: Any


class IndexedPasses:
    """Passes over a `DataLoader` with an indexable data set, or over such a data set alone.

    The loader's workers, pinning, sampler, batch sampler and batch size stand. Its order depends on the seed alone, and so does
    what its data set and `collate_fn` draw from the global generators of torch, numpy and Python: every batch is read with a
    seed of its own, whichever process reads it.

    Args:
        loader: Never iterated itself; None for a data set alone.
        dataset: Data set to read.
        batch_dim: The dimension of the samples, where the user says it.
    """

    def __init__(self, loader: DataLoader[Any] | None, dataset: Any, batch_dim: int | None = None) -> None:
        self._loader = loader
        self._batch_dim = batch_dim
        self._reader = _Reader(dataset, default_collate if loader is None else loader.collate_fn)
        self._whole = loader is not None and loader.batch_sampler is None
        self._kept: DataLoader[Any] | None = None
        self._busy = False
        self._process = os.getpid()
        self._of_parent: list[DataLoader[Any] | None] = []

    def read(self, batch_size: int, *, seed: int | None, limit: int | None) -> Iterator[Batch]:
        """Batches in main memory: in order without a seed, shuffled by the seed with one; at most `limit` samples."""
        requests = self._requests(batch_size, seed, limit)
        for request, (samples, read) in zip(requests, self._answers(requests), strict=True):
            if limit is not None and limit <= 0:
                return
            batch = self._as_batch(request, samples, read)
            if limit is not None:
                batch = batch.part(0, min(limit, batch.samples))
                limit -= batch.samples
            yield batch

    @cached_property
    def samples(self) -> int:
        """Samples in a pass without a seed."""
        if self._whole:
            return sum(batch.samples for batch in self.read(1, seed=None, limit=None))
        return sum(len(indices) for indices in self._orders(1024, None))

    def batch_count(self, batch_size: int) -> int:
        """Batches in a pass with a seed."""
        if self._loader is None:
            return math.ceil(len(self._reader.dataset) / batch_size)
        return len(self._loader)

    def close(self) -> None:
        """Stop the worker processes; they start again when needed."""
        self._kept = None

    def __getstate__(self) -> dict[str, Any]:
        """Travels without its worker processes."""
        return vars(self) | {"_loader": at_rest(self._loader), "_kept": None, "_busy": False, "_of_parent": []}

    def _requests(self, batch_size: int, seed: int | None, limit: int | None) -> list[Request]:
        seeds = SeedTree(seed or 0).child("read")
        requests: list[Request] = []
        left = None if self._whole else limit
        for number, indices in enumerate(self._orders(batch_size, seed)):
            if left is not None and left <= 0:
                break
            requests.append(Request(seeds.child(number).seed, indices if left is None else indices[:left]))
            left = None if left is None else left - len(indices)
        return requests

    def _orders(self, batch_size: int, seed: int | None) -> list[Any]:
        """The indices of each batch; those of a loader that makes no batches one by one."""
        loader, dataset = self._loader, self._reader.dataset
        seeds = SeedTree(seed or 0).child("order")
        sampler = None if loader is None else loader.batch_sampler or loader.sampler
        with isolated_rng(seeds.seed), seeded(own_generators(sampler), seeds):
            if loader is None:
                plain = SequentialSampler(dataset) if seed is None else RandomSampler(dataset)
                return list(BatchSampler(_seeded(plain, seed), batch_size, drop_last=False))
            batches: Any = loader.batch_sampler
            if batches is None:
                return list(_seeded(loader.sampler, seed))
            if type(batches) is BatchSampler:
                drop = batches.drop_last and seed is not None
                return list(BatchSampler(_seeded(batches.sampler, seed), batches.batch_size, drop))
            return [list(indices) for indices in _seeded(batches, seed)]

    def _as_batch(self, request: Request, samples: int | None, read: Any) -> Batch:
        if samples is None:
            return as_batch(read, self._batch_dim)
        inputs, targets = pair_of(read)
        left = samples_left(inputs, targets, samples, self._batch_dim)
        if type(inputs) in (list, tuple) and self._per_sample:
            inputs = (inputs,)

        def reread(start: int, stop: int) -> Batch:
            again = Request(SeedTree(request.seed).child(start, stop).seed, request.indices[start:stop])
            return self._as_batch(again, *self._reader[again])

        known = 0 if self._reader.collate is default_collate else self._batch_dim
        # Which ones were dropped nobody says, so that those that are left can't be read anew by their places.
        return Batch(inputs, targets, left, batch_dim=known, reread=reread if left == samples else None)

    @cached_property
    def _per_sample(self) -> bool:
        """Whether inputs come as a list with one item per sample, which is one argument, and not as a list of arguments."""
        if self._reader.collate is default_collate:
            return False
        indices = next(iter(self._orders(_PROBED, None)))
        while len(indices) < _PROBED:
            indices = [*indices, indices[0]]
        inputs, _ = pair_of(self._reader[Request(0, indices)][1])
        arguments = all(isinstance(item, torch.Tensor) and item.shape[:1] == (len(indices),) for item in inputs)
        return len(inputs) == len(indices) and not arguments

    def _answers(self, requests: Sequence[Request]) -> Iterator[tuple[int | None, Any]]:
        self._leave_to_parent()
        loader = self._loader
        # A worker of a pool is daemonic and may have no processes of its own: it reads the very same batches itself.
        alone = loader is None or loader.num_workers == 0 or multiprocessing.current_process().daemon
        if loader is None or (alone and not loader.pin_memory):
            yield from map(self._reader.__getitem__, requests)
        elif self._busy or alone:
            yield from _iterate(self._new_loader(loader, persistent=False), requests)
        else:
            self._busy = True
            try:
                self._kept = self._kept or self._new_loader(loader, persistent=True)
                yield from _iterate(self._kept, requests)
            finally:
                self._busy = False

    def _leave_to_parent(self) -> None:
        """In a forked child: start workers anew, and hold on to the parent's, which would end with their loader."""
        if self._process != os.getpid():
            self._of_parent.append(self._kept)
            self._kept, self._busy, self._process = None, False, os.getpid()

    def _new_loader(self, loader: DataLoader[Any], *, persistent: bool) -> DataLoader[Any]:
        """A loader with the given one's workers and pinning, that reads requests."""
        workers = 0 if multiprocessing.current_process().daemon else loader.num_workers
        return DataLoader(
            self._reader,
            batch_size=None,
            sampler=_Requests(),
            collate_fn=_as_it_is,
            num_workers=workers,
            pin_memory=loader.pin_memory,
            timeout=loader.timeout if workers else 0,
            worker_init_fn=_Start(loader.worker_init_fn) if workers else None,
            multiprocessing_context=loader.multiprocessing_context if workers else None,
            generator=torch.Generator(),
            prefetch_factor=loader.prefetch_factor if workers else None,
            persistent_workers=persistent,
        )


class _Reader(Dataset[Any]):
    """Reads requests, in this process or in a worker; answers with the number of samples and what was collated."""

    def __init__(self, dataset: Any, collate: Callable[[Any], Any]) -> None:
        self.dataset = dataset
        self.collate = collate

    def __getitem__(self, request: Request) -> tuple[int | None, Any]:
        dataset, indices = self.dataset, request.indices
        with isolated_rng(request.seed), seeded(self._generators, SeedTree(request.seed)):
            if not isinstance(indices, list):
                return None, self.collate(dataset[indices])
            many = getattr(dataset, "__getitems__", None)
            return len(indices), self.collate(many(indices) if many else [dataset[index] for index in indices])

    @cached_property
    def _generators(self) -> tuple[Generator, ...]:
        return own_generators(self.dataset, self.collate)

    def __getstate__(self) -> dict[str, Any]:
        """Travels without the generators, which are found anew: a copy has others."""
        return {name: value for name, value in vars(self).items() if name != "_generators"}


class _Requests:
    """A sampler whose requests are put in before each pass."""

    def __init__(self) -> None:
        self.given: Sequence[Request] = ()

    def __iter__(self) -> Iterator[Request]:
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)


class _Start:
    """The user's `worker_init_fn`, which finds the data set that it knows."""

    def __init__(self, own: Callable[[int], object] | None) -> None:
        self._own = own

    def __call__(self, worker: int) -> None:
        info: Any = get_worker_info()
        object.__setattr__(info, "dataset", info.dataset.dataset)  # a WorkerInfo is frozen
        if self._own is not None:
            self._own(worker)


def _as_it_is(answer: Any) -> Any:
    return answer


def _iterate(loader: DataLoader[Any], requests: Sequence[Request]) -> Iterator[Any]:
    sampler: Any = loader.sampler
    sampler.given = requests
    yield from loader


def at_rest(loader: Any) -> Any:
    """A loader as it can be pickled: without the worker processes that it may keep; anything else as it is."""
    if not isinstance(loader, DataLoader) or loader._iterator is None:
        return loader
    twin = copy.copy(loader)
    twin._iterator = None
    return twin


def _seeded(sampler: Any, seed: int | None) -> Any:
    """A copy of a sampler whose order depends on the seed alone; a plain shuffle without a seed is no shuffle."""
    if seed is None and isinstance(sampler, RandomSampler) and _is_plain(sampler):
        return SequentialSampler(sampler.data_source)
    own = copy.copy(sampler)
    if hasattr(own, "generator"):
        own.generator = torch.Generator().manual_seed(seed or 0)
    if hasattr(own, "set_epoch"):
        own.set_epoch((seed or 0) % 2**31)
    if hasattr(own, "sampler"):
        own.sampler = _seeded(own.sampler, seed)
    return own


def _is_plain(sampler: RandomSampler) -> bool:
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)
