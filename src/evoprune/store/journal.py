"""The append-only journal of evaluations: the record of a search, and its checkpoint."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from evoprune.errors import StoreCorruptedError
from evoprune.genome import BitGenome
from evoprune.results import Evaluation, Status
from evoprune.store.atomic import append_line, open_lines

TAGS: Final = ("step", "encoding", "layer", "history", "ask", "asked", "criterion", "start", "state")
MAX_INLINE_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class JournalEntry:
    """One line of `evaluations.jsonl`; nothing in it depends on the clock or the machine's load.

    Attributes:
        index: Number of the evaluation, from 0.
        generation: Number of the generation, from 0.
        genome: The genome, when it is small enough to stand in the line.
        evaluation: Score of the candidate.
        fitness: The one number bred by, where the search has one.
        tags: JSON values under the names of `TAGS`: which search of a run of several the entry belongs to.
        parents: Digests of the genomes that it was bred from.
    """

    index: int
    generation: int
    genome: BitGenome | None
    evaluation: Evaluation
    fitness: float | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """Number of the step that the entry belongs to; 0 in runs without steps."""
        return int(self.tags.get("step", 0))

    @property
    def phase(self) -> tuple[Any, int]:
        """Encoding and generation: what the entries of one generation of a step have in common."""
        return self.tags.get("encoding"), self.generation

    @property
    def score(self) -> float | None:
        """The fitness of a usable candidate; None for others."""
        return self.fitness if self.evaluation.status is Status.OK else None

    @property
    def history(self) -> Sequence[Mapping[str, float]] | None:
        """The best of each generation, where the entry is a whole search of one layer; None for single candidates."""
        return self.tags.get("history")

    @property
    def is_inline(self) -> bool:
        """Whether the genome, if there is one, is small enough to stand in the line."""
        return self.genome is None or self.genome.packed.nbytes <= MAX_INLINE_BYTES

    def to_line(self) -> str:
        """The entry as a line of JSON, without the line break."""
        evaluation = self.evaluation
        document: dict[str, Any] = {
            "index": self.index,
            "generation": self.generation,
            "rung": evaluation.rung,
            "genome": evaluation.genome,
            "status": evaluation.status.value,
            "objectives": dict(evaluation.objectives),
        }
        if self.fitness is not None:
            document["fitness"] = self.fitness
        if evaluation.violation:
            document["violation"] = evaluation.violation
        if evaluation.reason:
            document["reason"] = evaluation.reason
        if self.genome is not None and self.is_inline:
            document["length"] = self.genome.length
            document["bits"] = base64.b64encode(self.genome.packed.tobytes()).decode()
        if self.parents:
            document["parents"] = list(self.parents)
        document |= self.tags
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_line(cls, line: str) -> JournalEntry:
        """Read what `to_line` wrote.

        Raises:
            ValueError: The line is not a journal entry.
        """
        document = json.loads(line)
        try:
            evaluation = Evaluation(
                genome=str(document["genome"]),
                rung=int(document["rung"]),
                status=Status(document["status"]),
                objectives=_numbers(document["objectives"]),
                violation=_finite(document.get("violation", 0.0)),
                reason=str(document.get("reason", "")),
            )
            fitness = None if document.get("fitness") is None else _finite(document["fitness"])
            if evaluation.status is Status.OK and fitness is None:
                raise ValueError("a usable evaluation has no fitness")
            return cls(
                index=int(document["index"]),
                generation=int(document["generation"]),
                genome=_genome(document),
                evaluation=evaluation,
                fitness=fitness,
                tags={name: document[name] for name in TAGS if name in document},
                parents=_digests(document.get("parents", [])),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


class Journal:
    """`evaluations.jsonl` of one run, open for appending.

    Opening reads what is there. A last line without its line break is what a crash leaves: it is dropped from the file. Any other
    damage is an error, because what follows it could not be trusted.

    Args:
        path: The file; created when missing.

    Raises:
        StoreCorruptedError: A complete line is not a valid entry, or entries are out of order.
    """

    def __init__(self, path: Path) -> None:
        self.entries = read_journal(path)
        self._file = open_lines(path)

    def append(self, entry: JournalEntry) -> None:
        """Write one whole line and sync it: what has been appended survives a crash, and what hasn't leaves no trace."""
        append_line(self._file, entry.to_line(), sync=True)
        # What is read again from the file is the same: of large genomes, thousands would fill the memory.
        self.entries.append(entry if entry.is_inline else replace(entry, genome=None))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class MemoryJournal:
    """Entries of a search that runs as one job: nothing is written."""

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []

    def append(self, entry: JournalEntry) -> None:
        """Keep the entry, all but its genome."""
        self.entries.append(replace(entry, genome=None))


def read_journal(path: Path) -> list[JournalEntry]:
    """The complete entries of a journal, without touching the file."""
    if not path.exists():
        return []
    return [_parse(path, number, line) for number, line in enumerate(path.read_bytes().split(b"\n")[:-1])]


def _parse(path: Path, number: int, line: bytes) -> JournalEntry:
    try:
        entry = JournalEntry.from_line(line.decode())
        if entry.index != number:
            raise ValueError(f"index {entry.index} where {number} belongs")
    except (ValueError, RecursionError) as error:
        raise StoreCorruptedError(
            f"{path}, line {number + 1}, is damaged: {error}", "restore the file from a copy"
        ) from error
    return entry


def _digests(document: Any) -> tuple[str, ...]:
    if not isinstance(document, list) or not all(isinstance(one, str) for one in document):
        raise ValueError("parents must be a list of digests")
    return tuple(document)


def _numbers(document: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): _finite(value) for name, value in document.items()}


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number


def _genome(document: Mapping[str, Any]) -> BitGenome | None:
    if "bits" not in document:
        return None
    packed = np.frombuffer(base64.b64decode(document["bits"], validate=True), dtype=np.uint8)
    genome = BitGenome(packed, int(document["length"]))
    if genome.digest != document["genome"]:
        raise ValueError("bits and digest of the genome disagree")
    return genome
