"""The search loop: ask, evaluate or replay, journal, tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from evoprune.errors import ReplayMismatchError
from evoprune.events import CandidateEvaluated, GenerationStarted, Listener
from evoprune.execution.base import Executor, Job, Outcome
from evoprune.genome import BitGenome
from evoprune.results import Status
from evoprune.run.journal import JournalEntry
from evoprune.run.yardstick import Best, Yardstick, better_of, stop_if_all_failed, summary
from evoprune.search.base import Search


@dataclass(frozen=True)
class Place:
    """Where a search stands in a run of several.

    Attributes:
        first: Index of its first evaluation.
        stage: What its genomes are about, for the jobs.
        tags: JSON values that its journal lines carry besides.
    """

    first: int = 0
    stage: Any = None
    tags: Mapping[str, Any] = field(default_factory=dict)


ALONE: Final = Place()
"""Of the one search of a run."""


@dataclass(frozen=True)
class SearchEnd:
    """What a search came to: evaluations, and the best of them; None when none could be scored."""

    evaluations: int
    best: Best | None


class EvaluationLog(Protocol):
    """Where entries are kept: a `Journal`, or a list in memory for a search that is one job."""

    @property
    def entries(self) -> Sequence[JournalEntry]:
        """What is there, from index 0."""

    def append(self, entry: JournalEntry) -> None:
        """Keep one more."""


def run_search(
    search: Search,
    executor: Executor,
    journal: EvaluationLog,
    *,
    generations: int,
    yardstick: Yardstick,
    may_go_on: Callable[[int], bool],
    notify: Listener,
    place: Place = ALONE,
    enough: Callable[[JournalEntry], bool] = lambda _: False,
    most: int | None = None,
) -> SearchEnd:
    """Drive `search` through its generations, answering from the journal what it holds already.

    Args:
        search: Asked and told, a generation at a time.
        executor: Evaluates what the journal doesn't hold.
        journal: Read from its start, then appended to in the order asked.
        generations: How many to evaluate.
        yardstick: What evaluations are worth.
        may_go_on: Called with a generation's number before it begins.
        notify: Told of every candidate and generation.
        place: Where in the journal the search begins, and what its lines say besides.
        enough: Asked with the best entry so far after each generation, unless it breaks a constraint; True ends the search.
        most: Evaluations of which the last generation is cut, where there is a limit.

    Returns:
        How many evaluations it took, and the best candidate.

    Raises:
        ReplayMismatchError: The journal holds other genomes than the search asks for.
        StoreCorruptedError: An entry of the journal lacks what the search is told.
        RunError: Not one candidate of a generation could be evaluated, though there were several, or none before.
    """
    asked, best = 0, None
    for generation in range(generations):
        if not may_go_on(generation) or (most is not None and asked >= most):
            break
        batch = search.ask()
        genomes = batch if most is None else batch[: most - asked]
        if not genomes:
            break
        notify(GenerationStarted(generation, generations, len(genomes)))
        at = replace(place, first=place.first + asked)
        yardstick.check(journal.entries[at.first : at.first + len(genomes)])
        entries = list(_evaluated(genomes, at, generation, executor, journal, yardstick, notify))
        asked += len(genomes)
        if (
            best is None or len(entries) == len(batch) > 1
        ):  # a child that is bred alone may fail alone, and so may a rest
            stop_if_all_failed(entries, generation)
        for genome, entry in zip(genomes, entries, strict=True):
            best = better_of(best, genome, entry)
        if len(genomes) == len(batch):  # a search is told of all that it asked or of nothing
            search.tell([yardstick.scored(genome, entry) for genome, entry in zip(genomes, entries, strict=True)])
        notify(summary(generation, entries, search))
        if best is not None and best.entry.evaluation.status is Status.OK and enough(best.entry):
            break
    return SearchEnd(asked, best)


def _evaluated(
    genomes: Sequence[BitGenome],
    place: Place,
    generation: int,
    executor: Executor,
    journal: EvaluationLog,
    yardstick: Yardstick,
    notify: Listener,
) -> Iterator[JournalEntry]:
    """Entries for `genomes`, in order: replayed as far as the journal goes, then evaluated."""
    first = place.first
    known = journal.entries[first : first + len(genomes)]
    for genome, entry in zip(genomes, known, strict=False):
        check_same(genome, entry)
        notify(CandidateEvaluated(entry.index, generation, entry.evaluation, entry.fitness, None, replayed=True))
        yield entry
    jobs = [
        Job(first + position, genome, rung=0, stage=place.stage)
        for position, genome in enumerate(genomes)
        if position >= len(known)
    ]
    for job in jobs:
        executor.submit(job)
    for outcome in _in_order(jobs, executor):
        job, evaluation = outcome.job, outcome.evaluation
        fitness = yardstick.fitness(evaluation)
        entry = JournalEntry(job.index, generation, job.genome, evaluation, fitness, place.tags)
        journal.append(entry)
        notify(CandidateEvaluated(job.index, generation, evaluation, fitness, outcome.cost, replayed=False))
        yield entry


def check_same(genome: BitGenome | None, entry: JournalEntry) -> None:
    """See that a journal line is of the genome that the search asks for.

    Raises:
        ReplayMismatchError: It is of another one.
    """
    digest = "nothing" if genome is None else genome.digest
    if entry.evaluation.genome != digest:
        raise ReplayMismatchError(
            f"evaluation {entry.index} of the journal is of genome {entry.evaluation.genome}, the search asks for {digest}",
            "the journal was edited, or written by other code; start a new run",
        )


def _in_order(jobs: Sequence[Job], executor: Executor) -> Iterator[Outcome]:
    """Outcomes in the order of submission, however they come in."""
    early: dict[int, Outcome] = {}
    for job in jobs:
        while job.index not in early:
            outcome = executor.wait()
            early[outcome.job.index] = outcome
        yield early.pop(job.index)
