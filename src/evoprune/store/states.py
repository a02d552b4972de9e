"""Networks between the steps of a run: immutable files, each named by the hash of what is in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evoprune.errors import StoreCorruptedError
from evoprune.genome import BitGenome, Bits
from evoprune.nn_utils.weights import parse_weights, save_tensors
from evoprune.store.atomic import write_atomically

FOLDER: Final = "states"
_WEIGHT, _ALIVE, _ORDER = "weight/", "alive/", "order/"
_DIGEST_CHARACTERS: Final = 32
_DIGITS: Final = 4
_LOST: Final = "restore it from a copy, or start a new run with another --out"

Scores = Mapping[str, Mapping[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class State:
    """What candidates of one step start from.

    Attributes:
        weights: Weights of the network, by name.
        alive: `{weight name: [units] bool}`, what earlier steps left.
        orders: `{criterion: {weight name: [units] float32}}` of this network, in the order that genomes count them by; empty
            without criteria.
    """

    weights: Mapping[str, Tensor]
    alive: Mapping[str, Bits]
    orders: Scores

    def to_bytes(self) -> bytes:
        """The state as a safetensors file, the same bytes for equal states."""
        tensors = {f"{_WEIGHT}{name}": value.contiguous() for name, value in self.weights.items()}
        tensors |= {f"{_ALIVE}{name}": torch.from_numpy(bits.astype(np.bool_)) for name, bits in self.alive.items()}
        for number, (criterion, scores) in enumerate(self.orders.items()):
            prefix = f"{_ORDER}{number:0{_DIGITS}}/{criterion}/"
            tensors |= {f"{prefix}{name}": torch.from_numpy(value) for name, value in scores.items()}
        return save_tensors(tensors)


class StateFolder:
    """`states/` of a run directory.

    Args:
        directory: The run directory; the folder is created with the first state.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / FOLDER

    def path(self, digest: str) -> Path:
        """The file of a state.

        Raises:
            StoreCorruptedError: The digest is none; what is not hexadecimal could lead out of the folder.
        """
        return self._folder / f"{_checked(digest)}.safetensors"

    def put(self, state: State) -> str:
        """Keep a state, on disk and synced before this returns; gives its digest."""
        return self.put_bytes(state.to_bytes())

    def put_bytes(self, content: bytes) -> str:
        """Keep a state that is there as bytes already; as `put`."""
        digest = _digest(content)
        path = self.path(digest)
        # A damaged copy is replaced: what was computed anew is sound.
        if not path.exists() or _digest(path.read_bytes()) != digest:
            write_atomically(path, content)
        return digest

    def get_bytes(self, digest: str) -> bytes:
        """The bytes of a state.

        Raises:
            StoreCorruptedError: It is missing, or is not what its name says.
        """
        path = self.path(digest)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreCorruptedError(f"can't read the state {path}: {error}", _LOST) from error
        return checked_state(content, digest, str(path))

    def get(self, digest: str) -> State:
        """Read a state.

        Raises:
            StoreCorruptedError: It is missing, or is not what its name says.
        """
        return _parse(parse_weights(self.get_bytes(digest), str(self.path(digest))))

    def put_genome(self, genome: BitGenome) -> None:
        """Keep a genome that is too large for its journal line, on disk and synced before this returns."""
        write_atomically(self.genome_path(genome.digest), genome.length.to_bytes(8, "big") + genome.packed.tobytes())

    def genome(self, digest: str) -> BitGenome:
        """Read what `put_genome` wrote.

        Raises:
            StoreCorruptedError: It is missing, or is not what its name says.
        """
        path = self.genome_path(digest)
        try:
            content = path.read_bytes()
            found = BitGenome(np.frombuffer(content, dtype=np.uint8, offset=8), int.from_bytes(content[:8], "big"))
        except (OSError, ValueError) as error:
            raise StoreCorruptedError(f"can't read the genome {path}: {error}", _LOST) from error
        if found.digest != digest:
            raise StoreCorruptedError(f"the genome {path} is not the file that was written", _LOST)
        return found

    def genome_path(self, digest: str) -> Path:
        """The file of a genome; as `path`."""
        return self._folder / f"{_checked(digest)}.bits"

    def keep_only(self, digests: set[str]) -> None:
        """Remove every other state, to which nothing leads any more. Genomes stay: the journal names them."""
        for path in self._folder.glob("*.safetensors"):
            if path.stem not in digests:
                path.unlink()


def _checked(digest: str) -> str:
    if re.fullmatch(r"[0-9a-f]{32}", digest) is None:
        raise StoreCorruptedError(f"{digest[:64]!r} is not the name of a state or genome", _LOST)
    return digest


def read_state(content: bytes, digest: str, origin: str) -> State:
    """The state in the bytes of its file; `origin` is for the error message.

    Raises:
        StoreCorruptedError: They are not what the digest says.
    """
    return _parse(parse_weights(checked_state(content, digest, origin), origin))


def checked_state(content: bytes, digest: str, origin: str) -> bytes:
    """The bytes of a state, if they are what its digest says.

    Raises:
        StoreCorruptedError: They are not.
    """
    if _digest(content) != digest:
        raise StoreCorruptedError(f"the state {origin} is not the file that was written", _LOST)
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]


def _parse(tensors: Mapping[str, Tensor]) -> State:
    orders: dict[str, dict[str, NDArray[np.float32]]] = {}
    # safetensors gives the tensors of a file in another order each time, and genomes name criteria by their position.
    named = sorted(tensors.items())
    for name, value in named:
        if name.startswith(_ORDER):
            _, criterion, weight = name.removeprefix(_ORDER).split("/", 2)
            orders.setdefault(criterion, {})[weight] = value.numpy()
    return State(
        {name.removeprefix(_WEIGHT): value for name, value in named if name.startswith(_WEIGHT)},
        {name.removeprefix(_ALIVE): value.numpy() for name, value in named if name.startswith(_ALIVE)},
        orders,
    )
