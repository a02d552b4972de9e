"""Passes over what can only be read from beginning to end: streams, and lists of batches."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, default_collate

from evoprune.data.batches import Batch, as_batch, pair_of
from evoprune.data.collated import samples_left
from evoprune.data.indexed import at_rest
from evoprune.data.own_generators import own_generators, seeded
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree


class StreamPasses:
    """Passes over an iterable of batches, or over a `DataLoader` with an `IterableDataset`, in the order in which they come.

    What is drawn from the global generators on the way depends on the seed alone. A loader's workers start anew with every pass,
    for what they draw would otherwise depend on the passes before.

    Args:
        batches: Iterable of batches that can be iterated more than once.
        batch_dim: The dimension of the samples, where the user says it.
    """

    def __init__(self, batches: Iterable[Any], batch_dim: int | None = None) -> None:
        self._batches = batches
        self._batch_dim = batch_dim

    def read(self, batch_size: int, *, seed: int | None, limit: int | None) -> Iterator[Batch]:
        """Batches as they come, at most `limit` samples of them."""
        del batch_size
        seeds = SeedTree(seed or 0).child("read")
        left = limit
        for number, read in enumerate(_isolated(self._seeded(seed), seeds)):
            if left is not None and left <= 0:
                return
            batch = self._as_batch(read)
            if left is not None:
                batch = batch.part(0, min(left, batch.samples))
                left -= batch.samples
            del number
            yield batch

    @cached_property
    def samples(self) -> int:
        """Samples in a pass."""
        return self._counted[0]

    def batch_count(self, batch_size: int) -> int:
        """Batches in a pass."""
        del batch_size
        if isinstance(self._batches, Sized):
            try:
                return len(self._batches)
            except TypeError:  # a loader has a length, but its data set may have none
                pass
        return self._counted[1]

    def close(self) -> None:
        """Nothing is kept."""

    def __getstate__(self) -> dict[str, Any]:
        """Travels without a loader's worker processes."""
        return vars(self) | {"_batches": at_rest(self._batches)}

    @cached_property
    def _counted(self) -> tuple[int, int]:
        counts = [batch.samples for batch in self.read(1, seed=None, limit=None)]
        return sum(counts), len(counts)

    def _seeded(self, seed: int | None) -> Iterable[Any]:
        loader = self._batches
        if not isinstance(loader, DataLoader):
            return loader
        own = copy.copy(loader)
        changed: dict[str, Any] = {
            "_iterator": None,
            "generator": torch.Generator().manual_seed(seed or 0),
            "persistent_workers": False,
            "drop_last": loader.drop_last and seed is not None,
        }
        if loader.batch_size is not None:
            changed["collate_fn"] = _Counting(loader.collate_fn)
        vars(own).update(changed)  # a loader refuses to have some of these set
        return own

    def _as_batch(self, read: Any) -> Batch:
        if not isinstance(read, _Counted):
            return as_batch(read, self._batch_dim)
        inputs, targets = pair_of(read.batch)
        loader: Any = self._batches
        known = 0 if loader.collate_fn is default_collate else self._batch_dim
        samples = samples_left(inputs, targets, read.samples, self._batch_dim)
        return Batch(inputs, targets, samples, batch_dim=known)


class _Counted(NamedTuple):
    samples: int
    batch: Any


class _Counting:
    """A `collate_fn` that says besides how many samples it was given."""

    def __init__(self, own: Callable[[Any], Any]) -> None:
        self._own = own

    def __call__(self, samples: Any) -> _Counted:
        return _Counted(len(samples), self._own(samples))


def _isolated(batches: Iterable[Any], seeds: SeedTree) -> Iterator[Any]:
    """`batches`, each made with generators seeded for it alone."""
    own = own_generators(batches)
    start = seeds.child("start")
    with isolated_rng(start.seed), seeded(own, start), _children_allowed():
        iterator = iter(batches)
    number = 0
    while True:
        draws = seeds.child(number)
        with isolated_rng(draws.seed), seeded(own, draws):
            try:
                batch = next(iterator)
            except StopIteration:
                return
        yield batch
        number += 1


@contextmanager
def _children_allowed() -> Iterator[None]:
    """Let a daemonic process, such as a worker of a pool, start processes of its own.

    multiprocessing forbids it, for they would outlive a parent that is killed. A loader's workers don't: they watch their parent.
    """
    config: Any = getattr(multiprocessing.current_process(), "_config", {})
    daemon = config.pop("daemon", None)
    try:
        yield
    finally:
        if daemon is not None:
            config["daemon"] = daemon
