"""How many samples go through the network at once, and what happens when the device has no room for them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import torch

from evoprune.data.batches import KERNEL_WIDTH
from evoprune.errors import DeviceMemoryError
from evoprune.events import BatchHalved, Listener, ignore

T = TypeVar("T")

SMALLEST_BATCH: Final = KERNEL_WIDTH
_FULL: Final = ("can't allocate memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
_MAKE_ROOM: Final = "evaluate fewer candidates at a time, or end other programs that use its memory, then resume"


class MicroBatch:
    """The largest number of samples per pass that has worked so far; it only ever shrinks.

    An optimisation step still sees the whole batch, its gradient summed over several passes, so that learning rate and number of
    steps keep their meaning. BatchNorm alone notices the difference.

    Args:
        size: Samples per pass to begin with, at least 1; None: whole batches, however large, until one doesn't fit.
        stage: Name of the work, for the message.
        notify: Called once per halving.
    """

    def __init__(self, size: int | None, *, stage: str, notify: Listener = ignore) -> None:
        self.size = size
        self._smallest = SMALLEST_BATCH if size is None else min(SMALLEST_BATCH, size)
        self._stage = stage
        self._notify = notify

    def attempt(self, work: Callable[[int], T], *, samples: int = sys.maxsize) -> T:
        """Call `work(size)`, again with half the size as long as it runs out of memory.

        Args:
            work: Takes the number of samples that a pass may have, `samples` at most.
            samples: Number of samples that would go through at once with room for any number.

        Raises:
            DeviceMemoryError: The smallest sensible size does not fit either.
        """
        while True:
            size = samples if self.size is None else min(self.size, samples)
            try:
                return work(size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler, whose traceback would keep the failed pass's tensors alive.
            self._halve(size)

    def _halve(self, size: int) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size <= self._smallest:
            raise DeviceMemoryError(f"{self._stage}: out of memory even with {size} samples at once", _MAKE_ROOM)
        self.size = max(self._smallest, _rounded_up(-(-size // 2)))
        self._notify(BatchHalved(self._stage, self.size))


def _rounded_up(samples: int) -> int:
    return -(-samples // KERNEL_WIDTH) * KERNEL_WIDTH


@contextmanager
def telling_of_full_memory(stage: str) -> Iterator[None]:
    """Turn what torch and Python say of full memory into an error of ours, where no smaller batch would help.

    Args:
        stage: Name of the work, for the message.

    Raises:
        DeviceMemoryError: There was no room for something made within.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).partition("\n")[0]
    else:
        return
    raise DeviceMemoryError(f"{stage}: out of memory" + (f": {reason}" if reason else ""), _MAKE_ROOM)


def is_out_of_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether torch could not allocate on an accelerator or on the host, or Python on the latter."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(phrase in str(error) for phrase in _FULL)
