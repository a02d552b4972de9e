"""What evaluations are worth: fitness for the journal, costs for the search, and which of two candidates is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from evoprune.errors import RunError, StoreCorruptedError
from evoprune.genome import BitGenome
from evoprune.results import Evaluation, Status
from evoprune.search.base import Scored
from evoprune.store.journal import JournalEntry

FAILED_VIOLATION: Final = 1e9
"""More than any sum of violated bounds, finite because pymoo's comparisons are not made for infinities."""


@dataclass(frozen=True)
class CandidateScores:
    """How evaluations become what a search is told.

    Attributes:
        fitness_of: The one number of an OK or infeasible evaluation.
        costs_of: Returns the costs of an evaluation, lower is better.
        objectives: Number of costs.
    """

    fitness_of: Callable[[Evaluation], float]
    costs_of: Callable[[Evaluation], tuple[float, ...]]
    objectives: int

    def fitness(self, evaluation: Evaluation) -> float | None:
        """The number for the journal; None where there is none: of a candidate that breaks a bound not all may be measured."""
        if evaluation.status is Status.FAILED:
            return None
        try:
            return self.fitness_of(evaluation)
        except KeyError:
            if evaluation.status is Status.OK:
                raise
            return None

    def scored(self, genome: BitGenome, entry: JournalEntry) -> Scored:
        """What the search is told of a candidate."""
        evaluation = entry.evaluation
        if evaluation.status is Status.OK:
            assert entry.fitness is not None
            return Scored(genome, entry.fitness, self.costs_of(evaluation))
        violation = FAILED_VIOLATION if evaluation.status is Status.FAILED else evaluation.violation
        return Scored(genome, 0.0, (0.0,) * self.objectives, violation)

    def check(self, known: Iterable[JournalEntry]) -> None:
        """See that what is replayed has every figure that the search is told; a line that is well-formed may still lack one.

        Raises:
            StoreCorruptedError: One lacks a figure.
        """
        for entry in known:
            if entry.evaluation.status is Status.OK:
                try:
                    self.fitness_of(entry.evaluation), self.costs_of(entry.evaluation)
                except KeyError as error:
                    raise StoreCorruptedError(
                        f"evaluation {entry.index} of the journal has no {error.args[0]}",
                        "restore the file from a copy",
                    ) from error


@dataclass(frozen=True)
class Best:
    """A candidate with its genome, which a journal keeps only when it is small."""

    genome: BitGenome
    entry: JournalEntry


def merit(entry: JournalEntry) -> tuple[float, float]:
    """What keeps the constraints comes first, then what breaks them least, then the fitter."""
    return -entry.evaluation.violation, -math.inf if entry.fitness is None else entry.fitness


def better_of(best: Best | None, genome: BitGenome, entry: JournalEntry) -> Best | None:
    """The better of the best so far and a new entry; the earlier one of equals."""
    if entry.evaluation.status is not Status.FAILED and (best is None or merit(entry) > merit(best.entry)):
        return Best(genome, entry)
    return best


def stop_if_all_failed(entries: Sequence[JournalEntry], generation: int) -> None:
    """End a run that can't come to anything.

    Raises:
        RunError: Not one of the entries could be evaluated; names the most common reason.
    """
    if all(entry.evaluation.status is Status.FAILED for entry in entries):
        reasons = [entry.evaluation.reason for entry in entries]
        common = max(dict.fromkeys(reasons), key=reasons.count)
        raise RunError(
            f"all {len(entries)} candidates of generation {generation} failed, most often because {common}",
            "the journal keeps the failures; correct the cause and start a new run with another --out",
        )
