"""The single place that touches torch's global generators: dropout and initialisation draw from nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and put them back as they were after it.

    CUDA generators are seeded only where CUDA is in use already, so that the block never starts a device.

    Args:
        seed: 0 to 2^63 - 1, such as `SeedTree.seed`.
    """
    with_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    cpu_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if with_cuda else []
    try:
        torch.default_generator.manual_seed(seed)
        if with_cuda:
            torch.cuda.manual_seed_all(seed)
        yield
    finally:
        torch.set_rng_state(cpu_state)
        if with_cuda:
            torch.cuda.set_rng_state_all(cuda_states)
