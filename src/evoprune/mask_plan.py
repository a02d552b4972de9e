"""A mask plan: which single weights stay, packed eight to a byte, apart from how they were chosen. numpy only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from evoprune.errors import InvalidPlanError

BoolMask = NDArray[np.bool_]

FORMAT: Final = 1
HEADER: Final = "evoprune.masks"
_MOST_DIMENSIONS: Final = 64
_LARGEST_EXTENT: Final = 1 << 63


class PackedMask:
    """One bit per weight of a tensor; 1 keeps the weight, 0 prunes it.

    Args:
        packed: [ceil(size / 8)] uint8, big-endian within a byte as `numpy.packbits` writes it, weights in C order. Padding bits
            are cleared.
        shape: Shape of the weight tensor.

    Raises:
        InvalidPlanError: The bytes don't hold as many bits as the shape has weights.
    """

    def __init__(self, packed: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
        size = prod(shape)
        if min(shape, default=0) < 0 or packed.dtype != np.uint8 or packed.shape != ((size + 7) // 8,):
            raise InvalidPlanError(f"{packed.dtype}{list(packed.shape)} can't hold a mask of shape {list(shape)}")
        packed = packed.copy()
        if size % 8:
            packed[-1] &= np.uint8((0xFF << (8 - size % 8)) & 0xFF)
        packed.setflags(write=False)
        self.packed: Final = packed
        self.shape: Final = shape
        self.size: Final = size

    @classmethod
    def from_bools(cls, bools: BoolMask) -> PackedMask:
        """Pack an array of any shape, True where the weight stays.

        Raises:
            InvalidPlanError: It holds something else than bool.
        """
        if bools.dtype != np.bool_:
            raise InvalidPlanError(f"a mask is an array of bool, not of {bools.dtype}")
        return cls(np.packbits(bools.ravel()), bools.shape)

    @property
    def bools(self) -> BoolMask:
        """The mask unpacked, of `shape`, a fresh array."""
        return np.unpackbits(self.packed, count=self.size).view(np.bool_).reshape(self.shape)

    @cached_property
    def kept(self) -> int:
        """Number of weights that stay."""
        return int.from_bytes(self.packed.tobytes(), "big").bit_count()

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal characters that name this mask."""
        payload = ",".join(map(str, self.shape)).encode() + b";" + self.packed.tobytes()
        return hashlib.blake2b(payload, digest_size=16).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PackedMask) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[type[PackedMask], tuple[NDArray[np.uint8], tuple[int, ...]]]:
        # numpy forgets on unpickling that an array is read-only.
        return PackedMask, (self.packed, self.shape)

    def __repr__(self) -> str:
        return f"PackedMask({self.digest[:8]}, {self.kept} of {list(self.shape)})"


@dataclass(frozen=True, eq=False, repr=False)
class MaskPlan:
    """Which weights of a model stay; tensors without a mask stay whole.

    Attributes:
        masks: `{parameter name: mask}`, a shared parameter under its first name.
        fingerprint: Names the dense structure the masks are for, see `evoprune.nn_utils.fingerprint`.
    """

    masks: Mapping[str, PackedMask]
    fingerprint: str

    @property
    def kept(self) -> int:
        """Number of weights that stay, of the masked tensors."""
        return sum(mask.kept for mask in self.masks.values())

    @property
    def size(self) -> int:
        """Number of weights in the masked tensors."""
        return sum(mask.size for mask in self.masks.values())

    @property
    def sparsity(self) -> float:
        """Fraction pruned of the masked tensors, 0 to 1; 0 without any."""
        return (self.size - self.kept) / self.size if self.size else 0.0

    @cached_property
    def digest(self) -> str:
        """32 hexadecimal characters, the same for equal plans."""
        lines = [self.fingerprint, *(f"{name}:{mask.digest}" for name, mask in sorted(self.masks.items()))]
        return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()

    def merged(self, other: MaskPlan) -> MaskPlan:
        """The masks of both; where both mask a tensor, `other` decides.

        Raises:
            InvalidPlanError: The plans are for different structures.
        """
        if other.fingerprint != self.fingerprint:
            raise InvalidPlanError("masks of different networks can't be merged")
        return MaskPlan({**self.masks, **other.masks}, self.fingerprint)

    def to_bytes(self) -> bytes:
        """The plan as a safetensors file, the same bytes for equal plans."""
        masks = dict(sorted(self.masks.items()))
        header = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "shapes": {name: list(mask.shape) for name, mask in masks.items()},
        }
        # One entry: safetensors writes several in any order.
        return save({name: mask.packed for name, mask in masks.items()}, {HEADER: json.dumps(header)})

    @classmethod
    def from_bytes(cls, content: bytes) -> MaskPlan:
        """Read what `to_bytes` wrote.

        Raises:
            InvalidPlanError: The bytes are damaged, no mask plan, or one of a newer format.
        """
        try:
            tensors = load(content)
            header = json.loads(metadata_of(content)[HEADER])
            if header["format"] != FORMAT:
                raise InvalidPlanError(f"masks have format {header['format']!r}, this evoprune reads format {FORMAT}")
            if not isinstance(header["fingerprint"], str) or header["shapes"].keys() != tensors.keys():
                raise ValueError("header and masks disagree")
            masks = {name: PackedMask(packed, read_shape(header["shapes"][name])) for name, packed in tensors.items()}
            return cls(masks, header["fingerprint"])
        except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidPlanError(f"not a file of weight masks: {type(error).__name__}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskPlan) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def summary(self) -> str:
        """What is masked, in a line."""
        return (
            f"{len(self.masks)} tensors masked, {self.kept:,} of {self.size:,} weights stay ({self.sparsity:.2%} zeros)"
        )

    def __repr__(self) -> str:
        return f"<mask plan: {self.summary()}>"


def metadata_of(content: bytes) -> dict[str, str]:
    """The free-form part of a safetensors file's header; the file was checked by loading it before.

    Raises:
        ValueError: The header is no JSON.
        AttributeError: The header is not an object.
    """
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]).get("__metadata__") or {}


def read_shape(value: Any) -> tuple[int, ...]:
    """A shape that stands in a file as a list.

    Raises:
        TypeError: It is none that a tensor can have.
    """
    if not isinstance(value, list) or len(value) > _MOST_DIMENSIONS:
        raise TypeError(f"{value!s:.80} is not a shape")
    if any(type(extent) is not int or not 0 <= extent < _LARGEST_EXTENT for extent in value):
        raise TypeError(f"{value!s:.80} is not a shape")
    return tuple(value)
