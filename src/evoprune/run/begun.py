"""Networks that a search begins with, as files of the run: `start.json`, and trained weights in `states/`."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from evoprune.errors import StoreCorruptedError
from evoprune.execution.base import Start
from evoprune.genome import BitGenome
from evoprune.space.widths import Counts
from evoprune.store.run_directory import RunStore

FILE: Final = "start.json"


@dataclass(frozen=True)
class BegunNetwork:
    """A network of the first generation.

    Attributes:
        index: Index in the journal of the run that it comes from.
        genome: Its genome in this run.
        state: Digest of the weights in `states/` that it begins with; None for those of the dense network.
    """

    index: int
    genome: BitGenome
    state: str | None

    def to_json(self) -> dict[str, Any]:
        """The network as `start.json` has it."""
        bits = base64.b64encode(self.genome.packed.tobytes()).decode()
        return {"index": self.index, "length": self.genome.length, "bits": bits, "state": self.state}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BegunNetwork:
        """Read what `to_json` wrote."""
        packed, state = (
            np.frombuffer(base64.b64decode(document["bits"], validate=True), dtype=np.uint8),
            document["state"],
        )
        if not isinstance(state, str | None):
            raise TypeError(f"{state!r:.40} is no state")
        return cls(int(document["index"]), BitGenome(packed, int(document["length"])), state)

    @property
    def start(self) -> Start | None:
        """The weights that it begins with."""
        return None if self.state is None else Start(self.genome, self.state)


@dataclass(frozen=True)
class Begun:
    """What a search begins with, apart from what criteria choose.

    Attributes:
        networks: The most important one first.
        widths: [groups] widths of all candidates, where these are fixed.
    """

    networks: Sequence[BegunNetwork] = ()
    widths: Counts | None = None

    @property
    def genomes(self) -> list[BitGenome]:
        """Their genomes."""
        return [one.genome for one in self.networks]

    @property
    def weights(self) -> dict[str, Start]:
        """The weights that they begin with, by the digests of genomes."""
        return {one.genome.digest: one.start for one in self.networks if one.start is not None}

    @property
    def otherwise(self) -> Start | None:
        """The weights that the rest of the generation begins with: at fixed widths all are variants of the first."""
        return self.networks[0].start if self.widths is not None and self.networks else None


NOTHING: Final = Begun()


def keep_begun(store: RunStore, networks: Sequence[BegunNetwork]) -> None:
    """Keep the networks in the run directory, on disk before this returns; their states are there already."""
    content = json.dumps({"networks": [one.to_json() for one in networks]}, indent=1).encode() + b"\n"
    store.write(FILE, content)
    store.pin(FILE, hashlib.sha256(content).hexdigest())


def read_begun(store: RunStore, length: int) -> list[BegunNetwork]:
    """The networks that `keep_begun` kept.

    Args:
        store: The run directory.
        length: Bits of a genome of the run.

    Raises:
        StoreCorruptedError: The file is missing, or is not what was written.
    """
    path = store.directory / FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StoreCorruptedError(f"can't read {path}: {error}", "restore the file from a copy") from error
    if hashlib.sha256(content).hexdigest() != store.manifest.pinned[FILE]:
        raise StoreCorruptedError(f"{path} is not the file that was written", "restore it from a copy")
    try:
        networks = [BegunNetwork.from_json(one) for one in json.loads(content)["networks"]]
        if not networks or any(one.genome.length != length for one in networks):
            raise ValueError(f"it has no networks of {length} bits")
        return networks
    except (ValueError, KeyError, TypeError) as error:  # whoever edits it can edit the manifest as well
        raise StoreCorruptedError(f"{path} is damaged: {error}", "restore the file from a copy") from error
