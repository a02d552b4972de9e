"""The seam between data and everything that learns from it or is judged by it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch

Pair = tuple[Any, Any]


@runtime_checkable
class Source(Protocol):
    """A data set that can be read again and again, in any batch size, on any device."""

    def __len__(self) -> int:
        """Number of samples."""

    def batches(self, batch_size: int, *, device: torch.device, seed: int | None = None) -> Iterator[Pair]:
        """One pass over the set: in order without a seed, shuffled by nothing but the seed with one.

        A batch is a pair (inputs, targets). It may be a `Batch`, which knows its number of samples; those of a plain pair are
        counted by the rule of `evoprune.data.batches`. Readers take either through `as_batch`.
        """

    def batch_count(self, batch_size: int) -> int:
        """Batches in one pass, an incomplete last one included."""

    def joined(self, other: Source) -> Source:
        """Both sets as one, for the final training."""

    def head(self, size: int) -> Source:
        """A fixed subset of at most `size` samples, the same at every call."""
