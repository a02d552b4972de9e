"""Genomes: immutable, hashable names of one choice. Packed bits, numpy only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True)
class Segment:
    """A run of genome positions that belong together, a layer's or a group's.

    Attributes:
        name: Name of the group or layer.
        start: First position in the genome.
        size: Number of positions.
    """

    name: str
    start: int
    size: int


class BitGenome:
    """A fixed number of bits, packed eight to a byte; 1 keeps a unit, 0 removes it.

    Args:
        packed: [ceil(length / 8)] uint8, big-endian within a byte as `numpy.packbits` writes it. Padding bits are cleared.
        length: Number of bits, at least 1.

    Raises:
        ValueError: The length is below 1 or does not fit the bytes.
    """

    def __init__(self, packed: NDArray[np.uint8], length: int) -> None:
        if length < 1 or packed.dtype != np.uint8 or packed.shape != ((length + 7) // 8,):
            raise ValueError(f"{packed.dtype}{packed.shape} can't hold {length} bits")
        packed = packed.copy()
        if length % 8:
            packed[-1] &= np.uint8((0xFF << (8 - length % 8)) & 0xFF)
        packed.setflags(write=False)
        self.packed: Final = packed
        self.length: Final = length

    @classmethod
    def from_bits(cls, bits: Bits) -> BitGenome:
        """Pack `bits`, [length] bool."""
        return cls(np.packbits(bits), len(bits))

    @property
    def bits(self) -> Bits:
        """The bits, unpacked: [length] bool, a fresh array."""
        return np.unpackbits(self.packed, count=self.length).view(np.bool_)

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal characters that name this genome everywhere: journal, seeds, caches."""
        payload = self.length.to_bytes(8, "big") + self.packed.tobytes()
        return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BitGenome) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[type[BitGenome], tuple[NDArray[np.uint8], int]]:
        # numpy forgets on unpickling that an array is read-only.
        return BitGenome, (self.packed, self.length)

    def __repr__(self) -> str:
        return f"BitGenome({self.digest[:8]}, {self.length} bits)"
