"""Keep ratios as fields of a genome: a Gray-coded exponent and the number of an importance order for every weight tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from evoprune.genome import Bits

RATIO_BITS: Final = 6
OCTAVES: Final = 3.0
"""Ratios from 1/8 to 1 in equal steps of their logarithm: each step changes a ratio by 3.4 %."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RatioFields:
    """Reads and writes `count` fields, each of `RATIO_BITS` ratio bits and as many bits as name one of `orders` orders.

    Attributes:
        count: Weight tensors.
        orders: Importance orders to choose from, at least 1.
    """

    count: int
    orders: int

    @property
    def order_bits(self) -> int:
        """Bits that name an order; 0 where there is no choice."""
        return (self.orders - 1).bit_length()

    @property
    def width(self) -> int:
        """Bits of one field."""
        return RATIO_BITS + self.order_bits

    def read(self, bits: Bits) -> tuple[NDArray[np.float64], Ints]:
        """Ratios [count] in 0 to 1, relative to each other, and orders [count]; `bits` is [count * width]."""
        table = bits.reshape(self.count, self.width)
        levels = _number(_from_gray(table[:, :RATIO_BITS]))
        ratios = 2.0 ** (OCTAVES * (levels / (2**RATIO_BITS - 1) - 1))
        # A number past the last order stands for one of the first: every genome is valid.
        return ratios, _number(table[:, RATIO_BITS:]) % self.orders

    def write(self, ratios: NDArray[np.float64], orders: Ints) -> Bits:
        """The nearest fields, [count * width] bool; ratios out of range become the nearest in it."""
        exponents = np.log2(np.clip(ratios, 2.0**-OCTAVES, 1.0))
        levels = np.rint((1 + exponents / OCTAVES) * (2**RATIO_BITS - 1)).astype(np.int64)
        gray = _to_gray(_digits(levels, RATIO_BITS))
        return np.concatenate([gray, _digits(orders, self.order_bits)], axis=1).ravel()


def _number(bits: Bits) -> Ints:
    weights = 1 << np.arange(bits.shape[1] - 1, -1, -1, dtype=np.int64)
    numbers: Ints = (bits * weights).sum(axis=1)
    return numbers


def _digits(numbers: Ints, width: int) -> Bits:
    shifts = np.arange(width - 1, -1, -1, dtype=np.int64)
    return (numbers[:, None] >> shifts & 1).astype(np.bool_)


def _to_gray(bits: Bits) -> Bits:
    return bits ^ np.pad(bits[:, :-1], ((0, 0), (1, 0)))


def _from_gray(bits: Bits) -> Bits:
    return np.logical_xor.accumulate(bits, axis=1)
