"""The single place that touches global generators: dropout, initialisation and users' augmentation draw from nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python inside the block and put them back as they were after it.

    CUDA generators are seeded only where CUDA is in use already, so that the block never starts a device.

    Args:
        seed: 0 to 2^63 - 1, such as `SeedTree.seed`.
    """
    with preserved_generators():
        seed_generators(seed)
        yield


def seed_generators(seed: int) -> None:
    """Seed the global generators of torch, numpy and Python, and leave them so: for processes of our own."""
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002, TID251 - all that numpy's global generator accepts
    random.seed(seed)  # noqa: TID251


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Put the states of all global random generators back on leaving."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    devices = torch.cuda.get_rng_state_all() if _cuda_in_use() else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.set_rng_state(states[2])
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)


def _cuda_in_use() -> bool:
    return torch.cuda.is_available() and torch.cuda.is_initialized()
