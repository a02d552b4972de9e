"""Seeds: a tree of names below one number, so that no result depends on order or worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SeedTree:
    """A seed and the names that lead to it; children are independent of each other and of when they are asked for.

    Example:
        `SeedTree(0).child("finetune", genome.digest, rung).seed` is the same number on any machine.
    """

    root: int
    path: tuple[str, ...] = ()

    def child(self, *names: str | int) -> SeedTree:
        """The subtree under `names`."""
        return SeedTree(self.root, (*self.path, *map(str, names)))

    @property
    def seed(self) -> int:
        """A 63-bit seed for this node, accepted by numpy and torch alike."""
        text = "\x1f".join((str(self.root), *self.path))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1

    def generator(self) -> np.random.Generator:
        """A fresh numpy generator for this node."""
        return np.random.default_rng(self.seed)
